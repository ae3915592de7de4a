//! Parameters and buffers: declared by the model, owned by the caller.
//!
//! The engine holds no tensors. A model states what it needs as a [`Schema`]; the caller keeps the
//! tensors (a `tch::nn::VarStore` in Rust, an `nn.Module` in Python) and lends them at each call. A
//! layer says each of its tensors once, in its constructor, through a [`Path`]: the same constructor
//! declares the schema and binds the tensors.

mod init;

pub use init::Init;

use crate::error::{Error, Result};
use crate::ops::dtype_name;
use std::cell::RefCell;
use std::collections::HashMap;
use tch::{Kind, Tensor, nn};

/// Numbers in the largest model: 16 GiB of float32. More is a slip in the settings.
const LARGEST_MODEL: i64 = 1 << 32;
/// Tensors in the largest model, whose layers are too many otherwise.
const MOST_TENSORS: usize = 1 << 16;

/// What a tensor of the schema is to an optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Trained, with weight decay.
    Decayed,
    /// Trained, without weight decay: biases, norms, and what an SSM's dynamics rest on.
    Undecayed,
    /// Not trained: running statistics.
    Buffer,
}

/// One parameter or buffer of a model.
#[derive(Debug, Clone)]
pub struct TensorSpec {
    /// Dotted name, as in a PyTorch `state_dict`.
    pub name: String,
    /// Sizes of its axes.
    pub shape: Vec<i64>,
    /// First values.
    pub init: Init,
    /// Trained or not, decayed or not.
    pub role: Role,
}

/// All parameters and buffers of a model, in the order that its tensors are lent in.
#[derive(Debug, Clone)]
pub struct Schema {
    specs: Vec<TensorSpec>,
    places: HashMap<String, usize>,
}

impl Schema {
    /// The schema that a constructor declares; what it builds is thrown away.
    ///
    /// # Errors
    /// Whatever the constructor refuses; a model that no memory holds.
    pub fn of<Built>(construct: impl FnOnce(&Path) -> Result<Built>) -> Result<Self> {
        let declared = RefCell::new(Vec::new());
        construct(&Path { source: &Source::Declare(&declared), prefix: String::new() })?;
        let specs: Vec<TensorSpec> = declared.into_inner();
        let mut numbers: i64 = 0;
        for spec in &specs {
            let count = spec.shape.iter().try_fold(1i64, |count, &size| count.checked_mul(size));
            match count.and_then(|count| numbers.checked_add(count)) {
                Some(sum) if sum <= LARGEST_MODEL => numbers = sum,
                _ => {
                    let reason = format!("makes a model of more than {LARGEST_MODEL} numbers");
                    return Err(Error::Config { field: spec.name.clone(), reason });
                }
            }
        }
        let places = specs.iter().enumerate().map(|(place, spec)| (spec.name.clone(), place));
        Ok(Self { places: places.collect(), specs })
    }

    /// The specifications in order.
    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs
    }

    /// Builds a model from lent tensors, which it shares.
    ///
    /// # Errors
    /// When tensors are missing, or one has another shape than declared or no floating type.
    pub fn bind<Built>(
        &self,
        tensors: &[Tensor],
        construct: impl FnOnce(&Path) -> Result<Built>,
    ) -> Result<Built> {
        if tensors.len() != self.specs.len() {
            let name = self.specs.get(tensors.len()).map_or("none", |spec| &spec.name);
            return Err(Error::MissingParameter { name: name.into() });
        }
        let source = Source::Bind { schema: self, tensors };
        construct(&Path { source: &source, prefix: String::new() })
    }

    /// First values of all tensors. Each depends on the seed and its own name and shape alone.
    pub fn initial(&self, seed: u64) -> Vec<Tensor> {
        self.specs.iter().map(|spec| spec.init.draw(seed, &spec.name, &spec.shape)).collect()
    }

    /// Creates the tensors in a `VarStore`, for a caller in Rust; the values are those of
    /// [`Schema::initial`].
    ///
    /// ```
    /// use mambacl::params::{Init, Schema};
    /// use tch::{Device, nn::VarStore};
    ///
    /// let schema = Schema::of(|p| p.sub("layer").parameter("weight", &[2, 3], Init::fan_in(3)))?;
    /// let variables = VarStore::new(Device::Cpu);
    /// let tensors = schema.variables(&variables.root(), 0);
    /// assert_eq!(tensors[0].size(), [2, 3]);
    /// assert!(variables.variables().contains_key("layer.weight"));
    /// # Ok::<(), mambacl::error::Error>(())
    /// ```
    pub fn variables(&self, root: &nn::Path, seed: u64) -> Vec<Tensor> {
        let create = |(spec, value): (&TensorSpec, Tensor)| {
            let mut path = root.clone();
            let mut parts = spec.name.split('.').peekable();
            loop {
                let part = parts.next().unwrap_or_default();
                if parts.peek().is_none() {
                    let value = value.to_device(root.device()).to_kind(root.kind());
                    return path.add(part, value, spec.role != Role::Buffer);
                }
                path = path / part;
            }
        };
        self.specs.iter().zip(self.initial(seed)).map(create).collect()
    }
}

enum Source<'a> {
    Declare(&'a RefCell<Vec<TensorSpec>>),
    Bind { schema: &'a Schema, tensors: &'a [Tensor] },
}

/// Where a layer's constructor asks for its tensors, by name.
pub struct Path<'a> {
    source: &'a Source<'a>,
    prefix: String,
}

impl Path<'_> {
    /// The path of a part.
    pub fn sub(&self, name: impl std::fmt::Display) -> Self {
        Self { source: self.source, prefix: format!("{}{name}.", self.prefix) }
    }

    /// The full name of something here.
    pub(crate) fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A trained tensor with weight decay.
    ///
    /// # Errors
    /// As [`Schema::bind`]. While declaring, where the tensor returned is an empty one, only when there are
    /// too many.
    pub fn parameter(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        self.tensor(name, shape, init, Role::Decayed)
    }

    /// A trained tensor without weight decay.
    ///
    /// # Errors
    /// As [`Path::parameter`].
    pub fn undecayed(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        self.tensor(name, shape, init, Role::Undecayed)
    }

    /// A tensor that is not trained.
    ///
    /// # Errors
    /// As [`Path::parameter`].
    pub fn buffer(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor> {
        self.tensor(name, shape, init, Role::Buffer)
    }

    fn tensor(&self, name: &str, shape: &[i64], init: Init, role: Role) -> Result<Tensor> {
        let name = self.full(name);
        match self.source {
            Source::Declare(specs) => {
                if specs.borrow().len() == MOST_TENSORS {
                    let reason = format!("makes a model of more than {MOST_TENSORS} tensors");
                    return Err(Error::Config { field: name, reason });
                }
                specs.borrow_mut().push(TensorSpec { name, shape: shape.to_vec(), init, role });
                Ok(Tensor::new())
            }
            Source::Bind { schema, tensors } => {
                let Some(&place) = schema.places.get(&name) else {
                    return Err(Error::MissingParameter { name });
                };
                let tensor = &tensors[place];
                if tensor.size() != shape {
                    return Err(Error::Shape {
                        op: "parameters",
                        argument: name,
                        expected: format!("{shape:?}"),
                        got: tensor.size(),
                    });
                }
                if !matches!(tensor.f_kind(), Ok(Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16)) {
                    let expected = "float32, float64, bfloat16 or float16".into();
                    let got = dtype_name(tensor).into();
                    return Err(Error::Dtype { op: "parameters", argument: name, expected, got });
                }
                Ok(tensor.shallow_clone())
            }
        }
    }
}
