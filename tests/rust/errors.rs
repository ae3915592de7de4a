//! Every error says what it is about.

use mambacl::error::Error;
use tch::{Kind, Tensor};

#[test]
fn each_text_names_the_fields() {
    let (op, argument) = ("predict", "x".to_owned());
    let (expected, got) = ("float32".to_owned(), "int64".to_owned());
    let shape =
        Error::Shape { op, argument: argument.clone(), expected: "(batch, 3)".into(), got: vec![2, 4] };
    assert_eq!(shape.to_string(), "predict: argument `x` must have shape (batch, 3), got [2, 4]");
    let dtype = Error::Dtype { op, argument: argument.clone(), expected: expected.clone(), got: got.clone() };
    assert_eq!(dtype.to_string(), "predict: argument `x` must have dtype float32, got int64");
    let device = Error::Device { op, argument: argument.clone(), expected: "cpu".into(), got: "cuda".into() };
    assert_eq!(device.to_string(), "predict: argument `x` must be on device cpu, got cuda");
    let value = Error::Value { op, argument, expected: "finite".into(), got: "NaN".into() };
    assert_eq!(value.to_string(), "predict: argument `x` must be finite, got NaN");
    let config = Error::Config { field: "d_model".into(), reason: "must be at least 1, got 0".into() };
    assert_eq!(config.to_string(), "configuration: `d_model` must be at least 1, got 0");
    let missing = Error::MissingParameter { name: "head.bias".into() };
    assert_eq!(missing.to_string(), "parameters: `head.bias` is missing");
    let kernel = Error::Kernel { op: "selective_scan", reason: "no memory".into() };
    assert_eq!(kernel.to_string(), "selective_scan: no memory");
}

#[test]
fn an_error_of_libtorch_keeps_its_text() {
    let raised = Tensor::zeros([2], (Kind::Float, tch::Device::Cpu)).f_view([3]).unwrap_err();
    let text = Error::from(raised).to_string();
    assert!(text.starts_with("torch: ") && text.contains("shape '[3]' is invalid"), "{text}");
}
