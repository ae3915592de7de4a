//! Learners and states as files: they come back, and what is not whole or fits not is refused.

use crate::agreement::assert_same;
use crate::models::{Case, Model as Bound, Settings, Streams, cases, classifier};
use crate::opened::Opened;
use mambacl::error::{Error, Result};
use mambacl::files::{self, Model, SavedState};
use mambacl::learners::{LearnerConfig, SequenceConfig, State};
use mambacl::mixers::{
    InitialDecay, attention::AttentionConfig, linear_attention::LinearAttentionConfig, mamba::MambaConfig,
};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

const SIZES: [i64; 3] = [3, 4, 2];

fn model(config: impl Settings, seed: u64) -> Model {
    let config = config.learner();
    let schema = config.schema().unwrap();
    let tensors = schema.initial(seed);
    Model { config, schema, tensors }
}

fn observed(model: &Model) -> State {
    let streams = Streams::draw(model.config.clone(), Kind::Float, SIZES, 0);
    let learner = model.bind().unwrap();
    let state = learner.initial_state(SIZES[0], streams.codebook.as_ref(), 0).unwrap();
    tch::no_grad(|| learner.observe(&state, &streams.train_x, &streams.train_y)).unwrap()
}

fn refusal<T>(result: Result<T>) -> String {
    match result {
        Err(error @ Error::File { .. }) => error.to_string(),
        Err(other) => panic!("another kind of error: {other}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn learners_and_states_come_back() {
    for Case { name, config, .. } in cases() {
        let before = model(config.clone(), 1);
        let file = before.pack().unwrap();
        let after = Model::unpack("model", &file).unwrap();
        assert_eq!(after.config.to_json().unwrap(), config.to_json().unwrap(), "{name}");
        for (spec, (got, want)) in before.schema.specs().iter().zip(after.tensors.iter().zip(&before.tensors))
        {
            assert_same(&spec.name, got, want);
        }
        assert_eq!(after.pack().unwrap(), file, "{name}: the same bytes");
        let state = observed(&before);
        let want: Vec<_> = state.tensors().into_iter().map(Tensor::copy).collect();
        let file = SavedState::uniform(state).pack(&before).unwrap();
        let got = SavedState::unpack("state", &file, &after).unwrap();
        assert_eq!((got.state.examples, &got.counts[..]), (4, &[4, 4, 4][..]));
        for (got, want) in got.state.tensors().into_iter().zip(&want) {
            assert_same(name, got, want);
        }
    }
}

#[test]
fn every_element_type_comes_back() {
    for kind in [Kind::Double, Kind::Half, Kind::BFloat16] {
        let bound = Bound::new(classifier(), kind);
        let config = classifier().learner();
        let before = Model { config, schema: bound.schema, tensors: bound.tensors };
        let after = Model::unpack("model", &before.pack().unwrap()).unwrap();
        for (got, want) in after.tensors.iter().zip(&before.tensors) {
            assert_eq!(got.kind(), kind);
            assert_same("a tensor", got, want);
        }
        assert_eq!(after.fingerprint().unwrap(), before.fingerprint().unwrap());
    }
}

#[test]
fn a_fingerprint_tells_settings_and_every_number() {
    let first = model(classifier(), 0);
    let of = |model: &Model| model.fingerprint().unwrap();
    assert_eq!(of(&first), of(&model(classifier(), 0)));
    assert_ne!(of(&first), of(&model(classifier(), 1)));
    for place in 0..first.tensors.len() {
        let mut other = model(classifier(), 0);
        let changed = other.tensors[place].copy();
        let _ = changed.flatten(0, -1).narrow(0, 0, 1).fill_(0.123);
        other.tensors[place] = changed;
        assert_ne!(of(&first), of(&other), "{}", first.schema.specs()[place].name);
    }
    // Where A began is no part of what a learner computes: the tensors hold what became of it.
    let mixer = MambaConfig { d_state: 4, initial_decay: InitialDecay::Published, ..MambaConfig::default() };
    let mut begun = model(SequenceConfig { mixer: mixer.into(), ..classifier() }, 0);
    assert_ne!(of(&first), of(&begun));
    begun.tensors = first.tensors.iter().map(Tensor::copy).collect();
    assert_eq!(of(&first), of(&begun));
    let norm = mambacl::backbone::NormConfig::None;
    assert_ne!(of(&first), of(&model(SequenceConfig { norm, ..classifier() }, 0)));
}

#[test]
fn a_bit_that_was_turned_and_a_file_cut_short_are_told() {
    let model = model(LearnerConfig::from_json(SMALL).unwrap(), 0);
    let (learner, state) =
        (model.pack().unwrap(), SavedState::uniform(observed(&model)).pack(&model).unwrap());
    let read = |file: &[u8], of_state: bool| match of_state {
        true => refusal(SavedState::unpack("it", file, &model)),
        false => refusal(Model::unpack("it", file)),
    };
    for (file, of_state) in [(learner, false), (state, true)] {
        for place in 0..file.len() {
            let mut altered = file.clone();
            altered[place] ^= 1 << (place % 8);
            let told = read(&altered, of_state);
            assert!(told.starts_with("file: `it` "), "{place}: {told}");
            assert!(told.len() < 400, "{told}");
            read(&file[..place], of_state);
        }
        read(&[&file[..], b"x"].concat(), of_state);
    }
}

/// A prototype learner of two numbers and three classes.
const SMALL: &str = r#"{"kind": "prototype", "d_model": 2, "encoder": {"kind": "vector", "dim": 2},
    "target": {"kind": "class", "vocab": 3}}"#;

/// What is changed of a file before it is sealed again.
type Change<'a> = &'a dyn Fn(&mut Opened);

fn altered(file: &[u8], change: impl FnOnce(&mut Opened)) -> Vec<u8> {
    let mut opened = Opened::new(file);
    change(&mut opened);
    opened.sealed()
}

/// Replaces the bytes of a tensor.
fn write(opened: &mut Opened, name: &str, bytes: &[u8]) {
    let start = opened.tensors[name]["data_offsets"][0].as_u64().unwrap() as usize;
    opened.data[start..start + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn what_is_whole_and_makes_no_sense_is_told() {
    let model = model(LearnerConfig::from_json(SMALL).unwrap(), 0);
    let file = model.pack().unwrap();
    assert!(Model::unpack("it", &altered(&file, |_| ())).is_ok(), "sealed again, it is sound");
    let config = |opened: &mut Opened, key: &str, value: Value| opened.header["facts"]["config"][key] = value;
    let told = |change: Change| refusal(Model::unpack("it", &altered(&file, change)));
    let cases: [(Change, &str); 12] = [
        (
            &|o| o.header["format"] = json!(2),
            "must have a format of at most 1, got 2: a newer mambacl wrote it",
        ),
        (&|o| o.header["format"] = json!("1"), "is damaged"),
        (&|o| o.header["holds"] = json!("state"), "must hold a learner, got \"state\""),
        (&|o| o.header["more"] = json!(1), "unknown field `more`"),
        (&|o| o.header = json!([]), "is damaged"),
        (&|o| o.tensors = json!({}), "is damaged"),
        (&|o| config(o, "d_model", json!(3)), "must hold `encoder."),
        (&|o| config(o, "d_model", json!(0)), "`d_model` must be at least 1, got 0"),
        (&|o| config(o, "modl", json!(0)), "`modl` is no setting"),
        (&|o| config(o, "kind", json!("oml")), "must hold"),
        (&|o| o.header["facts"]["dtype"] = json!("int64"), "must be of a floating dtype, got \"int64\""),
        (&|o| o.data[0] ^= 1, "must hold the model of fingerprint"),
    ];
    for (change, message) in cases {
        let told = told(change);
        assert!(told.contains(message), "{told}");
    }
    let layers = json!({"n_layer": 1 << 20, "encoder": {"kind": "vector", "dim": 2}});
    let told = told(&|o| o.header["facts"]["config"] = layers.clone());
    assert!(told.contains("must hold the tensors of 1048576 layers, got"), "{told}");
    assert!(refusal(Model::unpack("it", b"")).contains("is damaged"));
    let plain = b"\x02\0\0\0\0\0\0\0{}";
    assert!(refusal(Model::unpack("it", plain)).contains("must be a file of mambacl, got no `mambacl`"));
    assert!(
        refusal(Model::unpack("it", &[0xff; 100])).contains("its header must have at most 16777216 bytes")
    );
}

#[test]
fn states_that_are_whole_and_make_no_sense_are_told() {
    let model = model(LearnerConfig::from_json(SMALL).unwrap(), 0);
    let file = SavedState::uniform(observed(&model)).pack(&model).unwrap();
    assert!(SavedState::unpack("it", &altered(&file, |_| ()), &model).is_ok());
    let cases: [(Change, &str); 9] = [
        (
            &|o| o.header["facts"]["model"] = json!("ab"),
            "must be a state of this model, whose fingerprint is",
        ),
        (&|o| o.header["facts"]["dtype"] = json!("float64"), "must be of a prototype learner and float32"),
        (&|o| o.header["facts"]["streams"] = json!(2), "must hold `examples` of int64 and shape [2]"),
        (&|o| o.header["facts"]["streams"] = json!(-1), "must hold `examples` of int64 and shape [-1]"),
        (&|o| write(o, "seen", &[2]), "must hold `seen` of bool and shape [3, 3], got bytes that are none"),
        (&|o| write(o, "examples", &(-1i64).to_le_bytes()), "numbers of examples that make sense, got -1"),
        (&|o| write(o, "examples", &i64::MIN.to_le_bytes()), "that make sense, got -9223372036854775808"),
        (&|o| write(o, "codebook", &5i64.to_le_bytes()), "must be a permutation of 0..3 in each row"),
        (
            &|o| {
                let means = o.tensors.as_object_mut().unwrap().remove("layers.0.means").unwrap();
                o.tensors["layers.0.meanz"] = means;
            },
            "must hold `layers.0.means` of float32 and shape [3, 3, 2], got none",
        ),
    ];
    for (change, message) in cases {
        let told = refusal(SavedState::unpack("it", &altered(&file, change), &model));
        assert!(told.contains(message), "{told}");
    }
    let other = refusal(SavedState::unpack("it", &model.pack().unwrap(), &model));
    assert!(other.contains("must hold a state, got \"learner\""), "{other}");
}

#[test]
fn streams_may_have_read_different_numbers_of_examples() {
    let model = model(classifier(), 0);
    let saved = SavedState { state: observed(&model), counts: vec![7, 4, 5] };
    let file = saved.pack(&model).unwrap();
    let again = SavedState::unpack("it", &file, &model).unwrap();
    assert_eq!((again.state.examples, again.counts), (4, vec![7, 4, 5]));
    for counts in [vec![4, 4], vec![5, 5, 5], vec![]] {
        let error = SavedState { state: saved.state.shallow_clone(), counts }.pack(&model).unwrap_err();
        assert!(error.to_string().contains("must be 3 numbers of examples, the least 4"), "{error}");
    }
    let attention = AttentionConfig { n_head: 2, ..AttentionConfig::default() };
    let linear = LinearAttentionConfig { n_head: 2, ..LinearAttentionConfig::default() };
    for mixer in [attention.into(), linear.into()] {
        let model = self::model(mambacl::learners::SequenceConfig { mixer, ..classifier() }, 0);
        let error = SavedState { state: observed(&model), counts: vec![7, 4, 5] }.pack(&model).unwrap_err();
        assert!(error.to_string().contains("as tokens have positions"), "{error}");
    }
}

#[test]
fn files_are_written_whole_and_read_from_the_disk() {
    let folder = std::env::temp_dir().join(format!("mambacl-files-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (path, gone) = (folder.join("model.safetensors"), folder.join("no/model.safetensors"));
    let model = model(classifier(), 0);
    for _ in 0..2 {
        model.write(&path).unwrap();
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left aside");
    assert_eq!(Model::read(&path).unwrap().fingerprint().unwrap(), model.fingerprint().unwrap());
    assert!(refusal(files::write(&gone, b"")).contains("could not be written"));
    assert!(refusal(Model::read(&gone)).contains("cannot be read"));
    assert!(refusal(Model::read(&folder)).contains("cannot be read: it is no regular file"));
    assert!(refusal(Model::read(Path::new("/dev/zero"))).contains("it is no regular file"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn threads_that_write_one_file_do_not_meet() {
    let folder = Folder::new("threads");
    let path = folder.0.join("one.safetensors");
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let path = &path;
            scope.spawn(move || (0..25).for_each(|_| files::write(path, &[thread; 10_000]).unwrap()));
        }
    });
    let written = std::fs::read(&path).unwrap();
    assert_eq!(written, vec![written[0]; 10_000], "the whole of one thread's");
    assert_eq!(folder.names(), ["one.safetensors"]);
}

/// A folder of one test, which is removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mambacl-{name}-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_link_is_followed_and_a_mode_stays() {
    let folder = Folder::new("links");
    let model = model(classifier(), 0);
    let (file, link, dangling) = (folder.0.join("file"), folder.0.join("link"), folder.0.join("dangling"));
    std::fs::write(&file, "before").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    symlink("file", &link).unwrap();
    symlink("made", &dangling).unwrap();
    model.write(&link).unwrap();
    model.write(&dangling).unwrap();
    assert!(link.is_symlink() && dangling.is_symlink());
    for written in [&file, &folder.0.join("made")] {
        assert_eq!(Model::read(written).unwrap().fingerprint().unwrap(), model.fingerprint().unwrap());
    }
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(folder.names(), ["dangling", "file", "link", "made"]);
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let folder = Folder::new("irregular");
    let model = model(classifier(), 0);
    symlink("circle", folder.0.join("circle")).unwrap();
    assert!(refusal(model.write(&folder.0)).contains("is a directory"));
    let pipe = folder.0.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(refusal(model.write(&pipe)).contains("it is no regular file"));
    assert!(pipe.metadata().unwrap().file_type().is_fifo());
    assert!(refusal(model.write(&folder.0.join("circle"))).contains("could not be written"));
    assert_eq!(folder.names(), ["circle", "pipe"]);
    let long = "n".repeat(255);
    model.write(&folder.0.join(&long)).unwrap();
    assert_eq!(folder.names(), ["circle", &long, "pipe"]);
}

#[test]
fn what_killed_processes_left_is_removed_and_nothing_else() {
    let folder = Folder::new("abandoned");
    let held = std::fs::File::create(folder.0.join(".mambacl-7-1.partial")).unwrap();
    held.lock().unwrap(); // as by a process that lives
    for name in [".mambacl-7-0.partial", ".mambacl-7-x.partial", ".model.7.0.partial", "mambacl-7-0.partial"]
    {
        std::fs::write(folder.0.join(name), "half").unwrap();
    }
    model(classifier(), 0).write(&folder.0.join("model")).unwrap();
    let stay = [
        ".mambacl-7-1.partial",
        ".mambacl-7-x.partial",
        ".model.7.0.partial",
        "mambacl-7-0.partial",
        "model",
    ];
    assert_eq!(folder.names(), stay);
    drop(held);
    model(classifier(), 0).write(&folder.0.join("model")).unwrap();
    assert_eq!(folder.names(), stay[1..]);
}

/// Written by Python (`tests/data/README.md`); whoever breaks this breaks every file that is out there.
#[test]
fn a_file_of_the_first_format_is_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let model = Model::read(&folder.join("learner.safetensors")).unwrap();
    let saved = SavedState::read(&folder.join("state.safetensors"), &model).unwrap();
    assert_eq!(saved.counts, [6]);
    let asked: Value = serde_json::from_slice(&std::fs::read(folder.join("answers.json")).unwrap()).unwrap();
    let numbers = |key: &str| -> Vec<f32> {
        asked[key].as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
    };
    let decay = |model: &Model| serde_json::from_str::<Value>(&model.config.to_json().unwrap()).unwrap();
    // The file is older than the setting: its fingerprint has none, and its decay is that published.
    assert_eq!(decay(&model)["mixer"]["initial_decay"], json!("published"));
    let again = Model::unpack("again", &model.pack().unwrap()).unwrap();
    assert_eq!(decay(&again)["mixer"]["initial_decay"], json!("published"));
    assert_eq!(again.fingerprint().unwrap(), model.fingerprint().unwrap());
    let x = Tensor::from_slice(&numbers("x")).view([1, 4, 3]);
    let output = model.bind().unwrap().predict(&saved.state, &x, None).unwrap().output;
    let want = Tensor::from_slice(&numbers("logits")).view_as(&output);
    assert!(output.allclose(&want, 1e-5, 1e-5, false));
}
