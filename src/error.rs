//! What can go wrong, as one enum with fields; the Python face maps each kind to an exception.

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Everything the engine can refuse or fail at.
///
/// `op` is the operation that refuses, `argument` the name of its argument, `expected` what that must
/// be and `got` what it is; `field` is a setting, `name` a tensor, `file` the name of one, and `reason` completes the sentence.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the same throughout: see the enum's text")]
pub enum Error {
    /// An argument has a shape the operation cannot take.
    #[error("{op}: argument `{argument}` must have shape {expected}, got {got:?}")]
    Shape { op: &'static str, argument: String, expected: String, got: Vec<i64> },

    /// An argument has an element type the operation cannot take.
    #[error("{op}: argument `{argument}` must have dtype {expected}, got {got}")]
    Dtype { op: &'static str, argument: String, expected: String, got: String },

    /// Arguments of one call lie on different devices, or on one without a kernel.
    #[error("{op}: argument `{argument}` must be on device {expected}, got {got}")]
    Device { op: &'static str, argument: String, expected: String, got: String },

    /// An argument has the right form and a value that makes no sense.
    #[error("{op}: argument `{argument}` must be {expected}, got {got}")]
    Value { op: &'static str, argument: String, expected: String, got: String },

    /// A configuration field is out of its range, or contradicts another.
    #[error("configuration: `{field}` {reason}")]
    Config { field: String, reason: String },

    /// A parameter or buffer that the model's schema declares was not given.
    #[error("parameters: `{name}` is missing")]
    MissingParameter { name: String },

    /// A file of a learner or a state cannot be used.
    #[error("file: `{file}` {reason}")]
    File { file: String, reason: String },

    /// The kernel behind an operation failed.
    #[error("{op}: {reason}")]
    Kernel { op: &'static str, reason: String },

    /// CUDA cannot do what is asked of it: no driver, no compiler, or an error of either.
    #[error("CUDA: {reason}")]
    Cuda { reason: String },

    /// libtorch raised an error.
    #[error("torch: {0}")]
    Torch(#[from] tch::TchError),
}

/// Checks that a setting is a size a model can have. A model too large for memory is refused when its
/// tensors are counted.
pub(crate) fn check_size(field: &str, size: i64) -> Result<()> {
    const LARGEST: i64 = 1 << 20;
    if (1..=LARGEST).contains(&size) {
        return Ok(());
    }
    let bound = if size < 1 { "at least 1".into() } else { format!("at most {LARGEST}") };
    Err(Error::Config { field: field.into(), reason: format!("must be {bound}, got {size}") })
}

/// Checks that tensors of these shapes hold no more numbers than any use of them needs.
pub(crate) fn check_numbers(
    op: &'static str,
    argument: &str,
    got: i64,
    shapes: impl IntoIterator<Item = Vec<i64>>,
) -> Result<()> {
    const MOST: i64 = 1 << 30;
    let numbers = |shape: Vec<i64>| shape.into_iter().try_fold(1i64, i64::checked_mul);
    let sum = shapes.into_iter().try_fold(0i64, |sum, shape| sum.checked_add(numbers(shape)?));
    if sum.is_some_and(|sum| sum <= MOST) {
        return Ok(());
    }
    let expected = format!("small enough for at most {MOST} numbers");
    Err(Error::Value { op, argument: argument.into(), expected, got: got.to_string() })
}

/// What a caught panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    // tch unwraps what libtorch says: its message is the first line of the quoted error, and C++ frames
    // are the others.
    let said = text.split_once("Torch(\"").map_or(text, |(_, said)| said);
    said.split("\\n").next().unwrap_or(said)
}
