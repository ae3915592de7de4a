//! Files of learners and states taken apart, to be altered and sealed again.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Where the digest stands, while it is computed.
const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The parts of a file.
#[derive(Clone)]
pub struct Opened {
    /// Of safetensors: each tensor by its name.
    pub tensors: Value,
    /// Of mambacl: format, what it holds, facts.
    pub header: Value,
    /// The numbers.
    pub data: Vec<u8>,
}

impl Opened {
    /// Takes a sound file apart.
    pub fn new(file: &[u8]) -> Self {
        let (length, rest) = file.split_first_chunk().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let mut tensors: Value = serde_json::from_slice(header).unwrap();
        let metadata = tensors.as_object_mut().unwrap().remove("__metadata__").unwrap();
        let header = serde_json::from_str(metadata["mambacl"].as_str().unwrap()).unwrap();
        Self { tensors, header, data: data.to_vec() }
    }

    /// The file, with the digest of what it now holds.
    pub fn sealed(mut self) -> Vec<u8> {
        if let Some(header) = self.header.as_object_mut() {
            header.insert("sha256".into(), json!(BLANK));
        }
        let text = self.header.to_string();
        if let Some(tensors) = self.tensors.as_object_mut() {
            tensors.insert("__metadata__".into(), json!({"mambacl": text}));
        }
        let header = self.tensors.to_string().into_bytes();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend(&self.data);
        let digest: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some(place) = file.windows(BLANK.len()).position(|text| text == BLANK.as_bytes()) {
            file[place..place + BLANK.len()].copy_from_slice(digest.as_bytes());
        }
        file
    }
}
