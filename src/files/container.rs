//! The file itself: safetensors with a header in its metadata, sealed by a digest.

use super::bytes::{self, Raw, dtype_of};
use crate::error::{Error, Result};
use crate::ops::kind_name;
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// The version of the format; a newer one is refused.
pub const FORMAT: u64 = 1;

/// The key of the header in safetensors' metadata.
const KEY: &str = "mambacl";
/// Bytes of the largest header that is read; that of a thousand layers takes two of them.
const LARGEST_HEADER: u64 = 16 << 20;
/// Where the digest stands, while it is computed.
const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What a file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Holds {
    Learner,
    State,
}

impl Holds {
    fn name(self) -> &'static str {
        match self {
            Self::Learner => "learner",
            Self::State => "state",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<Facts> {
    format: u64,
    holds: Holds,
    facts: Facts,
    sha256: String,
}

/// The bytes of a file.
///
/// # Errors
/// When an element type is none that files have.
pub(super) fn pack(holds: Holds, facts: &impl Serialize, tensors: &[(String, Raw)]) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| refused(holds.name(), format!("cannot be packed: {error}"));
    let header = Header { format: FORMAT, holds, facts, sha256: BLANK.into() };
    let text = serde_json::to_string(&header).map_err(|error| failed(&error))?;
    let metadata = Some(HashMap::from([(KEY.to_owned(), text)]));
    let views = tensors.iter().map(|(name, raw)| (name.as_str(), raw));
    let mut file = safetensors::serialize(views, &metadata).map_err(|error| failed(&error))?;
    let place = digest_place(&file, BLANK).ok_or_else(|| failed(&"its header holds a row of zeros"))?;
    let digest = hex(&Sha256::digest(&file));
    file[place..place + digest.len()].copy_from_slice(digest.as_bytes());
    Ok(file)
}

/// A file that was read: its facts, and its tensors as bytes.
pub(super) struct Unpacked<'a, Facts> {
    file: &'a str,
    pub facts: Facts,
    tensors: SafeTensors<'a>,
}

/// Reads the bytes of a file, and checks them whole; `file` is its name, for messages.
///
/// # Errors
/// [`Error::File`] when it is none of mambacl, damaged, of a newer format, or holds something else.
pub(super) fn unpack<'a, Facts: DeserializeOwned>(
    file: &'a str,
    holds: Holds,
    bytes: &'a [u8],
) -> Result<Unpacked<'a, Facts>> {
    let damaged = |reason: &dyn std::fmt::Display| refused(file, format!("is damaged: {reason}"));
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    if length.is_some_and(|length| length > LARGEST_HEADER) {
        return Err(damaged(&format_args!("its header must have at most {LARGEST_HEADER} bytes")));
    }
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(&told(&error)))?;
    let Some(text) = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY)) else {
        return Err(refused(file, format!("must be a file of mambacl, got no `{KEY}` in its metadata")));
    };
    let header: Value = serde_json::from_str(text).map_err(|error| damaged(&error))?;
    if let Some(format) = header["format"].as_u64().filter(|&format| format > FORMAT) {
        let newer = "a newer mambacl wrote it";
        return Err(refused(file, format!("must have a format of at most {FORMAT}, got {format}: {newer}")));
    }
    let said = header["sha256"].as_str().unwrap_or_default();
    let is = digest(bytes, said).ok_or_else(|| damaged(&"it holds no sha256 of itself"))?;
    if is != said {
        return Err(damaged(&format_args!("its sha256 must be {said}, got {is}")));
    }
    let held = &header["holds"];
    if held.as_str() != Some(holds.name()) {
        return Err(refused(file, format!("must hold a {}, got {held}", holds.name())));
    }
    let header: Header<Facts> = serde_path_to_error::deserialize(header).map_err(|error| damaged(&error))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(&told(&error)))?;
    Ok(Unpacked { file, facts: header.facts, tensors })
}

impl<Facts> Unpacked<'_, Facts> {
    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// A tensor, on the CPU.
    ///
    /// # Errors
    /// [`Error::File`] when there is none of that name, or it has another element type or shape.
    pub fn tensor(&self, name: &str, kind: Kind, size: &[i64]) -> Result<Tensor> {
        let expected = format!("must hold `{name}` of {} and shape {size:?}", kind_name(kind));
        let Ok(view) = self.tensors.tensor(name) else {
            return Err(self.refused(format!("{expected}, got none")));
        };
        let same =
            view.shape().iter().map(|&size| i64::try_from(size).ok()).eq(size.iter().map(|&s| Some(s)));
        if dtype_of(kind) != Some(view.dtype()) || !same {
            return Err(self.refused(format!("{expected}, got {:?} and {:?}", view.dtype(), view.shape())));
        }
        let tensor = bytes::tensor(view.data(), kind, size);
        tensor.ok_or_else(|| self.refused(format!("{expected}, got bytes that are none")))
    }

    /// An error about this file.
    pub fn refused(&self, reason: String) -> Error {
        refused(self.file, reason)
    }
}

pub(super) fn refused(file: &str, reason: String) -> Error {
    Error::File { file: file.into(), reason }
}

/// What safetensors refuses, in words.
fn told(error: &safetensors::SafeTensorError) -> String {
    use safetensors::SafeTensorError as E;
    match error {
        E::HeaderTooSmall | E::InvalidHeaderLength | E::MetadataIncompleteBuffer => {
            "it is shorter or longer than it says".into()
        }
        E::InvalidHeader | E::InvalidHeaderStart | E::InvalidHeaderDeserialization => {
            "it does not begin as a file of safetensors".into()
        }
        other => format!("{other:?}"),
    }
}

/// The digest of a file that says to have one; None if it does not say so at one place of its header.
fn digest(bytes: &[u8], said: &str) -> Option<String> {
    let place = digest_place(bytes, said)?;
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..place]);
    hasher.update(BLANK);
    hasher.update(&bytes[place + said.len()..]);
    Some(hex(&hasher.finalize()))
}

/// Where in a file its digest stands.
fn digest_place(bytes: &[u8], digest: &str) -> Option<usize> {
    if digest.len() != BLANK.len() {
        return None;
    }
    let (length, rest) = bytes.split_first_chunk()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let mut places = header.windows(digest.len()).enumerate().filter(|(_, text)| *text == digest.as_bytes());
    let (place, _) = places.next()?;
    places.next().is_none().then_some(place + length.len())
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
