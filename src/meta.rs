//! One episode of meta-training: observe the stream, predict the queries, measure the loss.

use crate::error::{Error, Result};
use crate::learners::{Learner, accuracy};
use tch::Tensor;

/// A batch of episodes.
pub struct Episode<'a> {
    /// Inputs of the stream, (batch, T, input shape...).
    pub train_x: &'a Tensor,
    /// Targets of the stream: labels int64 (batch, T), or vectors (batch, T, dim).
    pub train_y: &'a Tensor,
    /// Inputs of the queries, (batch, Q, input shape...).
    pub test_x: &'a Tensor,
    /// Targets of the queries: labels int64 (batch, Q), or vectors (batch, Q, dim).
    pub test_y: &'a Tensor,
    /// The symbol of each label, int64 (batch, vocab); of a classifier.
    pub codebook: Option<&'a Tensor>,
    /// Task of each example, int64 (batch, T), where `train_y` does not say it.
    pub train_task: Option<&'a Tensor>,
    /// Task of each query, int64 (batch, Q), where `test_y` does not say it.
    pub test_task: Option<&'a Tensor>,
}

/// What an episode gives.
pub struct Outcome {
    /// The objective, the weighted regulariser and the weighted balance of experts: what is
    /// differentiated.
    pub loss: Tensor,
    /// The mean loss over queries.
    pub objective: Tensor,
    /// The regulariser before its weight, when it is on.
    pub penalty: Option<Tensor>,
    /// Logits by label, (batch, Q, vocab), or vectors, (batch, Q, dim).
    pub output: Tensor,
    /// The share of queries answered right among the labels seen; of a classifier.
    pub accuracy: Option<Tensor>,
    /// The share answered right in the whole vocabulary; of a classifier.
    pub vocabulary_accuracy: Option<Tensor>,
}

/// Runs episodes through a learner. In training (`step` given) the encoder uses and updates the
/// statistics of the streams, and the regulariser is on; else nothing changes.
///
/// # Errors
/// When the episode does not fit the learner.
pub fn run(learner: &Learner, episode: &Episode, step: Option<i64>) -> Result<Outcome> {
    let config = learner.config();
    log::trace!("episodes of {:?} examples and {:?} queries", episode.train_x.size(), episode.test_x.size());
    let batch = episode.train_x.size().first().copied().unwrap_or(0);
    let initial = learner.initial_state(batch, episode.codebook, step.unwrap_or(0) as u64)?;
    // Before anything is read: reading in training moves the running statistics.
    episode.check(learner, batch)?;
    let regulariser = step.and(config.selectivity()).filter(|s| s.weight_at(step.unwrap_or(0)) > 0.0);
    let tasks = regulariser.map(|_| episode.tasks()).transpose()?;
    let (state, prediction, penalty, auxiliary) = match step {
        None => {
            let state = learner.observe(&initial, episode.train_x, episode.train_y)?;
            let prediction = learner.predict(&state, episode.test_x, None)?;
            (state, prediction, None, Vec::new())
        }
        Some(step) => {
            let (state, trace) = learner.observe_traced(&initial, episode.train_x, episode.train_y)?;
            let prediction = learner.predict(&state, episode.test_x, Some(&trace))?;
            let mut penalty = None;
            if let (Some(selectivity), Some((stream, queries))) = (regulariser, tasks) {
                let pairs = trace.keys.iter().zip(&prediction.queries);
                let layers: Vec<_> = pairs.filter_map(|(k, q)| Some((k.as_ref()?, q.as_ref()?))).collect();
                let weight = selectivity.weight_at(step);
                penalty = Some((selectivity.penalty(&layers, stream, queries)?, weight));
            }
            let auxiliary =
                trace.auxiliary.into_iter().chain(prediction.auxiliary.as_ref().map(Tensor::shallow_clone));
            let auxiliary = auxiliary.collect();
            (state, prediction, penalty, auxiliary)
        }
    };
    let objective = config.target().loss(&prediction.output, episode.test_y);
    let mut loss = objective.shallow_clone();
    if let Some((penalty, weight)) = &penalty {
        loss = loss + penalty * *weight;
    }
    for auxiliary in auxiliary {
        loss = loss + auxiliary;
    }
    let seen = state.labels.as_ref().map(|labels| &labels.seen);
    let right = |answers: Tensor| accuracy(&answers, episode.test_y);
    Ok(Outcome {
        loss,
        objective,
        penalty: penalty.map(|(penalty, _)| penalty),
        accuracy: seen.map(|seen| right(prediction.argmax_seen(seen))),
        vocabulary_accuracy: seen.map(|_| right(prediction.argmax_vocabulary())),
        output: prediction.output,
    })
}

impl Episode<'_> {
    /// Checks all but the stream, which `observe` checks.
    fn check(&self, learner: &Learner, batch: i64) -> Result<()> {
        learner.check_queries(self.test_x, batch)?;
        let queries = self.test_x.size()[1];
        learner.check_targets("episode", self.test_y, batch, queries)?;
        let examples = self.train_x.size().get(1).copied().unwrap_or(0);
        for (name, task, n) in
            [("train_task", self.train_task, examples), ("test_task", self.test_task, queries)]
        {
            task.map_or(Ok(()), |task| learner.check_tasks(name, task, batch, n))?;
        }
        if self.train_task.is_some() != self.test_task.is_some() {
            let (given, other) = if self.train_task.is_some() {
                ("train_task", "test_task")
            } else {
                ("test_task", "train_task")
            };
            return Err(Error::Value {
                op: "episode",
                argument: other.into(),
                expected: format!("given, as `{given}` is"),
                got: "None".into(),
            });
        }
        Ok(())
    }

    /// What makes an example and a query belong together: their tasks, or else their labels.
    fn tasks(&self) -> Result<(&Tensor, &Tensor)> {
        let stream = self.train_task.unwrap_or(self.train_y);
        let queries = self.test_task.unwrap_or(self.test_y);
        if stream.dim() != 2 || queries.dim() != 2 {
            let reason = "needs tasks for vector targets: give `train_task` and `test_task`".into();
            return Err(Error::Config { field: "selectivity".into(), reason });
        }
        Ok((stream, queries))
    }
}
