//! `RUN --device=`: which device a step asks for.

use crate::csv::{self, CsvError};
use crate::value;

/// A device by its CDI name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The name, `vendor.com/class=device` or a part of it.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
}

/// A `--device=` that says nothing sensible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// It is no list of fields.
    #[error("device is not a list of fields")]
    Csv(#[from] CsvError),
    /// A second name.
    #[error("device name already set to {0}")]
    TwoNames(String),
    /// A field without a value.
    #[error("invalid field '{0}' must be a key=value pair")]
    NoValue(String),
    /// A value that does not fit its key.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A key that does not exist.
    #[error("unexpected key '{key}' in '{field}'")]
    Key {
        /// The key.
        key: String,
        /// The whole field.
        field: String,
    },
}

impl Device {
    /// Reads the flag's value: a name, or `name=...,required`.
    pub fn parse(text: &str) -> Result<Self, DeviceError> {
        let mut name = String::new();
        let mut required = false;
        for field in csv::fields(text)? {
            let (key, field_value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_lowercase(), None),
            };
            match (key.as_str(), field_value) {
                ("required", None) => required = true,
                ("required", Some(text)) => {
                    required = value::boolean(text).ok_or_else(|| DeviceError::Value {
                        key: key.clone(),
                        value: text.to_owned(),
                    })?;
                }
                ("name", Some(_)) if !name.is_empty() => return Err(DeviceError::TwoNames(name)),
                ("name", Some(text)) => name = text.to_owned(),
                _ if name.is_empty() => name = field,
                (_, None) => return Err(DeviceError::NoValue(field)),
                (_, Some(_)) => return Err(DeviceError::Key { key, field }),
            }
        }
        Ok(Self { name, required })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_required() {
        let device = |text| Device::parse(text).map(|device| (device.name, device.required));
        assert_eq!(
            device("nvidia.com/gpu=all"),
            Ok(("nvidia.com/gpu=all".into(), false))
        );
        assert_eq!(device("name=gpu,required"), Ok(("gpu".into(), true)));
        assert_eq!(device("gpu,required=false"), Ok(("gpu".into(), false)));
    }

    #[test]
    fn refuses_nonsense() {
        let error = |text| Device::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("gpu,required=maybe"),
            "invalid value for required: maybe"
        );
        assert_eq!(error("gpu,name=b"), "device name already set to gpu");
        assert_eq!(
            error("gpu,color=red"),
            "unexpected key 'color' in 'color=red'"
        );
        assert_eq!(
            error("gpu,red"),
            "invalid field 'red' must be a key=value pair"
        );
    }
}
