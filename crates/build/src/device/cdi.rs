//! Specifications of the Container Device Interface (CDI 1.1): files by which vendors say what a
//! container needs for a device of theirs to work in it. JSON, or YAML, which it is a part of.
//!
//! <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// Whose devices are handed out without being allowed: an annotation that BuildKit knows.
const AUTO_ALLOW: &str = "org.mobyproject.buildkit.device.autoallow";
/// Names that several devices can be asked for by: an annotation that BuildKit knows.
const CLASS: &str = "org.mobyproject.buildkit.device.class";

/// The devices of one kind, as one file describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Specification {
    /// `vendor.com/class`.
    pub(super) kind: String,
    /// What any of the devices needs.
    pub(super) edits: Edits,
    /// The devices.
    pub(super) devices: Vec<Described>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// Its name among those of its kind.
    pub(super) name: String,
    /// What several devices have in common, if its vendor says so.
    pub(super) class: Option<String>,
    /// Whether nobody has to allow it.
    pub(super) auto_allow: bool,
    /// What it needs beside what its kind does.
    pub(super) edits: Edits,
}

/// What a device changes of a step's surroundings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edits {
    /// Variables.
    pub(super) env: Vec<(String, String)>,
    /// Device files, and what else of the host is shown.
    pub(super) files: Vec<HostFile>,
    /// Groups that processes are in.
    pub(super) groups: Vec<u32>,
    /// What is asked for and not done, in words.
    pub(super) left_out: Vec<String>,
}

/// A file or directory of the host that a step sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostFile {
    /// On the host.
    pub source: PathBuf,
    /// Where the step sees it: absolute.
    pub target: PathBuf,
    /// Whether the step may only read it.
    pub read_only: bool,
}

/// A file that is no specification, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoSpecification(String);

impl Specification {
    /// Reads a file's text.
    pub(super) fn parse(text: &str) -> Result<Self, NoSpecification> {
        let written: Written = serde_saphyr::from_str(text).map_err(|error| {
            let all = error.to_string();
            NoSpecification(all.lines().next().unwrap_or_default().to_owned())
        })?;
        if !is_kind(&written.kind) {
            let why = format!("its kind, `{}`, is not VENDOR/CLASS", written.kind);
            return Err(NoSpecification(why));
        }
        let described = |device: WrittenDevice| {
            let says = |key| {
                scalar(
                    device
                        .annotations
                        .get(key)
                        .or(written.annotations.get(key))?,
                )
            };
            Ok(Described {
                class: says(CLASS),
                auto_allow: says(AUTO_ALLOW)
                    .is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true")),
                edits: device.edits.read()?,
                name: device.name,
            })
        };
        Ok(Self {
            edits: written.edits.read()?,
            devices: written
                .devices
                .into_iter()
                .map(described)
                .collect::<Result<_, _>>()?,
            kind: written.kind,
        })
    }
}

/// Whether a name is of the form `vendor.com/class`.
pub(super) fn is_kind(name: &str) -> bool {
    let is_word = |word: &str| {
        let mut ends = word.chars().take(1).chain(word.chars().last());
        ends.all(|c| c.is_ascii_alphanumeric())
            && !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    name.split_once('/')
        .is_some_and(|(vendor, class)| is_word(vendor) && is_word(class))
}

/// An annotation as text: YAML's `true` is no string.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The file's form; what it may say beside that changes nothing here.
#[derive(Deserialize)]
struct Written {
    kind: String,
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
    devices: Vec<WrittenDevice>,
    #[serde(default, rename = "containerEdits")]
    edits: WrittenEdits,
}

#[derive(Deserialize)]
struct WrittenDevice {
    name: String,
    #[serde(default)]
    annotations: BTreeMap<String, Value>,
    #[serde(default, rename = "containerEdits")]
    edits: WrittenEdits,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenEdits {
    env: Vec<String>,
    device_nodes: Vec<WrittenNode>,
    mounts: Vec<WrittenMount>,
    hooks: Vec<Value>,
    #[serde(rename = "additionalGids")]
    additional_groups: Vec<u32>,
    intel_rdt: Option<Value>,
    net_devices: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenNode {
    path: PathBuf,
    host_path: Option<PathBuf>,
    #[serde(default)]
    permissions: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMount {
    host_path: PathBuf,
    container_path: PathBuf,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default, rename = "type")]
    kind: String,
}

impl WrittenEdits {
    fn read(self) -> Result<Edits, NoSpecification> {
        let mut edits = Edits {
            groups: self.additional_groups,
            ..Edits::default()
        };
        for line in self.env {
            let (name, value) = line.split_once('=').ok_or_else(|| {
                NoSpecification(format!("its variable `{line}` is not NAME=VALUE"))
            })?;
            edits.env.push((name.to_owned(), value.to_owned()));
        }
        let nodes = self.device_nodes.into_iter().map(WrittenNode::read);
        edits.files.extend(nodes);
        let (memory, files): (Vec<_>, Vec<_>) =
            self.mounts.into_iter().partition(|it| it.kind == "tmpfs");
        edits
            .files
            .extend(files.into_iter().map(WrittenMount::read));
        for file in &edits.files {
            if !file.target.is_absolute() {
                let why = format!("its path `{}` is not absolute", file.target.display());
                return Err(NoSpecification(why));
            }
        }
        for (asked, words) in [
            (!memory.is_empty(), "file systems in memory"),
            (!self.hooks.is_empty(), "programs of its vendor (hooks)"),
            (self.intel_rdt.is_some(), "limits of Intel RDT"),
            (!self.net_devices.is_empty(), "devices of the network"),
        ] {
            edits.left_out.extend(asked.then(|| words.to_owned()));
        }
        Ok(edits)
    }
}

impl WrittenNode {
    /// A device file is the host's own: making one needs rights that users lack.
    fn read(self) -> HostFile {
        HostFile {
            source: self.host_path.unwrap_or_else(|| self.path.clone()),
            target: self.path,
            read_only: !self.permissions.is_empty() && !self.permissions.contains('w'),
        }
    }
}

impl WrittenMount {
    fn read(self) -> HostFile {
        HostFile {
            source: self.host_path,
            target: self.container_path,
            read_only: self.options.iter().any(|option| option == "ro"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: &str = r#"
cdiVersion: "0.6.0"
kind: nvidia.com/gpu
annotations:
  org.mobyproject.buildkit.device.autoallow: true
containerEdits:
  env: ["NVIDIA_VISIBLE_DEVICES=void"]
  deviceNodes:
  - path: /dev/nvidiactl
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: ["nvidia-cdi-hook", "update-ldcache"]
  mounts:
  - hostPath: /usr/lib64/libcuda.so.550
    containerPath: /usr/lib/libcuda.so.550
    options: ["ro", "nosuid", "nodev", "bind"]
  additionalGids: [44]
devices:
- name: "0"
  annotations:
    org.mobyproject.buildkit.device.autoallow: "false"
    org.mobyproject.buildkit.device.class: gpu
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      hostPath: /dev/nvidia3
      permissions: r
- name: all
"#;

    fn file(source: &str, target: &str, read_only: bool) -> HostFile {
        HostFile {
            source: source.into(),
            target: target.into(),
            read_only,
        }
    }

    #[test]
    fn a_specification_says_what_a_kind_and_each_of_its_devices_need() {
        let read = Specification::parse(GPU).unwrap();
        assert_eq!(read.kind, "nvidia.com/gpu");
        let env = [("NVIDIA_VISIBLE_DEVICES".to_owned(), "void".to_owned())];
        assert_eq!(read.edits.env, env);
        let library = file("/usr/lib64/libcuda.so.550", "/usr/lib/libcuda.so.550", true);
        let control = file("/dev/nvidiactl", "/dev/nvidiactl", false);
        assert_eq!(read.edits.files, [control, library]);
        assert_eq!(read.edits.groups, [44]);
        assert_eq!(read.edits.left_out, ["programs of its vendor (hooks)"]);
        let [card, all] = &read.devices[..] else {
            panic!("{read:?}");
        };
        assert_eq!((&*card.name, card.auto_allow), ("0", false));
        assert_eq!(card.class.as_deref(), Some("gpu"));
        assert_eq!(
            card.edits.files,
            [file("/dev/nvidia3", "/dev/nvidia0", true)]
        );
        assert_eq!(
            (&*all.name, all.auto_allow, &all.class),
            ("all", true, &None)
        );
    }

    #[test]
    fn json_is_read_too_and_what_is_unknown_is_skipped() {
        let text = r#"{"cdiVersion": "1.9.0", "kind": "a.com/b", "color": "red",
                       "devices": [{"name": "c", "containerEdits": {"sound": 1}}]}"#;
        let read = Specification::parse(text).unwrap();
        assert_eq!(read.devices[0].name, "c");
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        let refused = |text: &str| Specification::parse(text).unwrap_err().to_string();
        let with =
            |edits: &str| format!("kind: a.com/b\ndevices: [{{name: c, containerEdits: {edits}}}]");
        assert!(refused("kind: gpu\ndevices: []").contains("`gpu`, is not VENDOR/CLASS"));
        assert!(refused(&with("{env: [A]}")).contains("`A` is not NAME=VALUE"));
        assert!(refused(&with("{deviceNodes: [{path: dev}]}")).contains("`dev` is not absolute"));
        assert!(!refused("devices: {").is_empty());
    }

    #[test]
    fn kinds_are_a_vendor_and_a_class() {
        for kind in ["vendor1.com/device", "foo.bar.baz/foo-bar123.B_az", "a/b"] {
            assert!(is_kind(kind), "{kind}");
        }
        for other in ["gpu", "a/", "/b", "a/b/c", "-a/b", "a/b_"] {
            assert!(!is_kind(other), "{other}");
        }
    }
}
