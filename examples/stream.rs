//! Serves one stream of a trained learner on standard input and output, without Python.
//!
//! ```text
//! mambacl export RUN model.safetensors                                       # or mambacl.save_learner
//! cargo run --release --example stream -- model.safetensors [--state state.safetensors]
//! ```
//!
//! Each line is a request of JSON, and is answered by a line of JSON; a line that makes no sense is
//! answered with an error, and the server goes on.
//!
//! ```text
//! {"observe": {"x": [0.5, -1.0], "y": 3}}   {"examples":1}
//! {"predict": {"x": [0.4, -0.9]}}           {"answer":3,"probabilities":{"3":1.0}}
//! {"save": "state.safetensors"}             {"saved":"state.safetensors","examples":1}
//! {"reset": true}                           {"examples":0}
//! {"predict": {"x": [0.4]}}                 {"error":"..."}
//! ```
//!
//! `x` is a list of numbers, of an image channel by channel and row by row; `y` a label, or a list of
//! numbers for learners of vectors, whose answer is such a list too. Probabilities are among the labels
//! observed. Who may write requests may write files: `save` takes any path.

use mambacl::codebook;
use mambacl::files::{Model, SavedState};
use mambacl::learners::{Learner, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Bytes of the longest line that is read.
const LONGEST_LINE: u64 = 16 << 20;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Observe { x: Vec<f64>, y: Value },
    Predict { x: Vec<f64> },
    Save(PathBuf),
    Reset(bool),
}

/// A learner and the stream that it is in.
struct Server {
    model: Model,
    learner: Learner,
    state: State,
}

impl Server {
    fn new(model: &Path, state: Option<&Path>) -> Result<Self> {
        let model = Model::read(model)?;
        let learner = model.bind()?;
        let state = match state {
            Some(path) => SavedState::read(path, &model)?.state,
            None => initial(&learner)?,
        };
        if state.batch() != 1 {
            return Err(format!("a state of 1 stream is served, got one of {}", state.batch()).into());
        }
        Ok(Self { model, learner, state })
    }

    fn answer(&mut self, line: &[u8]) -> Result<Value> {
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let request = serde_path_to_error::deserialize(&mut deserializer)?;
        deserializer.end()?;
        match request {
            Request::Observe { x, y } => self.observe(&x, &y),
            Request::Predict { x } => self.predict(&x),
            Request::Save(path) => {
                let examples = self.state.examples;
                let saved = SavedState::uniform(self.state.shallow_clone());
                saved.write(&path, &self.model)?;
                Ok(json!({"saved": path, "examples": examples}))
            }
            Request::Reset(true) => {
                self.state = initial(&self.learner)?;
                Ok(json!({"examples": 0}))
            }
            Request::Reset(false) => Err("reset: must be true".into()),
        }
    }

    fn observe(&mut self, x: &[f64], y: &Value) -> Result<Value> {
        let x = self.input("observe", x)?;
        let y = match self.learner.config().target().vocab() {
            Some(_) => {
                let label = y.as_i64().ok_or_else(|| format!("observe.y: must be a label, got {y}"))?;
                Tensor::from_slice(&[label]).view([1, 1])
            }
            None => {
                let numbers: Vec<f64> = Deserialize::deserialize(y)
                    .map_err(|_| format!("observe.y: must be a list of numbers, got {y}"))?;
                Tensor::from_slice(&numbers).to_kind(self.kind()).view([1, 1, -1])
            }
        };
        self.state = self.learner.observe(&self.state, &x, &y)?;
        Ok(json!({"examples": self.state.examples}))
    }

    fn predict(&self, x: &[f64]) -> Result<Value> {
        let prediction = self.learner.predict(&self.state, &self.input("predict", x)?, None)?;
        let numbers = |tensor: &Tensor| -> Result<Vec<f64>> {
            Ok(Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1))?)
        };
        let Some(labels) = &self.state.labels else {
            return Ok(json!({"answer": numbers(&prediction.output)?}));
        };
        let answer = prediction.argmax_seen(&labels.seen).int64_value(&[0, 0]);
        let unseen = labels.seen.logical_not().unsqueeze(1);
        let logits = prediction.output.to_kind(Kind::Double).masked_fill(&unseen, f64::NEG_INFINITY);
        let seen: Vec<bool> = Vec::try_from(labels.seen.flatten(0, -1))?;
        let of_labels = seen.iter().zip(numbers(&logits.softmax(-1, None::<Kind>))?).enumerate();
        let of_seen = of_labels.filter(|(_, (seen, _))| **seen);
        let probabilities: Map<_, _> =
            of_seen.map(|(label, (_, probability))| (label.to_string(), json!(probability))).collect();
        Ok(json!({"answer": answer, "probabilities": probabilities}))
    }

    /// An input, (1, 1, input shape...).
    fn input(&self, op: &str, x: &[f64]) -> Result<Tensor> {
        let shape = [vec![1, 1], self.learner.config().encoder().settings().input_shape()].concat();
        let needed: i64 = shape.iter().product();
        if x.len() as i64 != needed {
            return Err(format!("{op}.x: must hold {needed} numbers, got {}", x.len()).into());
        }
        Ok(Tensor::from_slice(x).to_kind(self.kind()).view(&shape[..]))
    }

    fn kind(&self) -> Kind {
        self.model.tensors.first().map_or(Kind::Float, Tensor::kind)
    }
}

/// The state of one stream before any example, the same as `init_state()` in Python.
fn initial(learner: &Learner) -> Result<State> {
    let vocab = learner.config().target().vocab();
    let codebook = vocab.map(|vocab| codebook::draw(vocab, 0, 1)).transpose()?;
    Ok(learner.initial_state(1, codebook.as_ref(), 0)?)
}

/// Reads a line, without its end; None after the last. A longer one is passed over.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Result<Vec<u8>>>> {
    let mut line = Vec::new();
    if input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
        return Ok(Some(Err(format!("a line must have at most {LONGEST_LINE} bytes").into())));
    }
    Ok(Some(Ok(line)))
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let (model, state) = match &arguments[..] {
        [model] => (model, None),
        [model, option, state] | [option, state, model] if option == "--state" => (model, Some(state)),
        _ => return Err("usage: stream MODEL.safetensors [--state STATE.safetensors]".into()),
    };
    // The matrices are small: threads would wait for each other at every one.
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    let mut server = Server::new(Path::new(model), state.map(Path::new))?;

    // tch panics where libtorch throws: that too is an answer.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    while let Some(line) = read_line(&mut input)? {
        let answered = line.and_then(|line| {
            catch_unwind(AssertUnwindSafe(|| server.answer(&line))).unwrap_or_else(|_| {
                Err("the engine failed; the state is as it was before the request".into())
            })
        });
        let answer = answered.unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}
