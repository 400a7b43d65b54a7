//! Which devices a name means, who may have them, and what a step is handed.

use std::fs;

use super::*;

/// Two kinds of one vendor: one device that everybody may have, and four that must be allowed.
const FILES: [(&str, &str); 2] = [
    (
        "one.yaml",
        "kind: vendor1.com/device
annotations: {org.mobyproject.buildkit.device.autoallow: true}
containerEdits: {env: [KIND=one], additionalGids: [44]}
devices:
- {name: foo, containerEdits: {env: [FOO=injected]}}
",
    ),
    (
        "multi.json",
        r#"{"kind": "vendor1.com/multi", "containerEdits": {"env": ["KIND=multi"]}, "devices": [
  {"name": "foo", "containerEdits": {"env": ["WHO=foo"]}},
  {"name": "bar", "annotations": {"org.mobyproject.buildkit.device.class": "class1"},
   "containerEdits": {"env": ["WHO=bar"], "deviceNodes": [{"path": "/dev/null"}]}},
  {"name": "baz", "annotations": {"org.mobyproject.buildkit.device.class": "class1"},
   "containerEdits": {"env": ["WHO=baz"], "hooks": [{"path": "/bin/true"}]}}]}"#,
    ),
];

fn machine(allowed: Allowed) -> (tempfile::TempDir, Devices) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "kind: a/b").unwrap();
    let devices = Devices::of(vec![folder.path().to_owned()], allowed);
    (folder, devices)
}

fn names(devices: &Devices, asked: &str) -> Result<Vec<String>, String> {
    let asked = Asked::parse(asked).unwrap();
    let handed = devices
        .hand(&[asked], &[])
        .map_err(|error| error.to_string())?;
    Ok(handed.devices.into_iter().map(|(name, _)| name).collect())
}

#[test]
fn a_name_means_one_device_the_first_of_a_kind_a_whole_kind_or_a_class() {
    let (_folder, devices) = machine(Allowed::All);
    let multi = |which: &[&str]| {
        let name = |one: &&str| format!("vendor1.com/multi={one}");
        Ok(which.iter().map(name).collect())
    };
    assert_eq!(names(&devices, "vendor1.com/multi=foo"), multi(&["foo"]));
    assert_eq!(names(&devices, "vendor1.com/multi"), multi(&["bar"]));
    let all = multi(&["bar", "baz", "foo"]);
    assert_eq!(names(&devices, "vendor1.com/multi=*"), all);
    assert_eq!(names(&devices, "class1"), multi(&["bar", "baz"]));
    assert_eq!(names(&devices, "vendor1.com/multi=none"), Ok(vec![]));
    let refused = names(&devices, "vendor1.com/multi=none,required").unwrap_err();
    assert_eq!(
        refused,
        "required device \"vendor1.com/multi=none\" is not registered"
    );
}

#[test]
fn a_device_must_be_allowed_by_its_vendor_or_by_the_caller() {
    let (_folder, nobody) = machine(Allowed::None);
    assert_eq!(names(&nobody, "vendor1.com/device").unwrap().len(), 1);
    let refused = names(&nobody, "vendor1.com/multi=foo").unwrap_err();
    assert_eq!(
        refused,
        "device vendor1.com/multi=foo is requested by the build but not allowed"
    );
    for (leave, may_have) in [
        ("vendor1.com/multi=foo", true),
        ("vendor1.com/multi=bar", false),
        ("vendor1.com/multi", true),
        ("vendor1.com/multi=*", true),
        ("vendor1.com/device", false),
    ] {
        let (_folder, devices) = machine(Allowed::Some([leave.to_owned()].into()));
        let got = names(&devices, "vendor1.com/multi=foo");
        assert_eq!(got.is_ok(), may_have, "{leave}: {got:?}");
    }
    let (_folder, devices) = machine(Allowed::Some(["class1".to_owned()].into()));
    assert_eq!(names(&devices, "class1").unwrap().len(), 2);
    // What the command line hands out is allowed by that.
    let given = nobody.hand(&[], &["vendor1.com/multi=foo".to_owned()]);
    assert_eq!(given.unwrap().env.last().unwrap().1, "foo");
}

#[test]
fn a_step_is_handed_what_the_kind_and_the_device_need_and_told_what_it_goes_without() {
    let (_folder, devices) = machine(Allowed::All);
    let asked = ["class1", "vendor1.com/device=foo", "vendor2.com/lost"];
    let asked = asked.map(|name| Asked::parse(name).unwrap());
    let handed = devices.hand(&asked, &[]).unwrap();
    let env: Vec<String> = handed
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(env, ["WHO=baz", "KIND=one", "FOO=injected"]);
    assert_eq!(handed.groups, [44]);
    let mounts = handed.mounts().unwrap();
    assert!(matches!(
        &mounts[..],
        [Mount::Bind {
            read_only: false,
            ..
        }]
    ));
    assert_eq!(
        handed.devices[0],
        (
            "vendor1.com/multi=bar".to_owned(),
            "KIND=multi, WHO=bar, /dev/null (rw)".to_owned()
        )
    );
    assert_eq!(
        handed.without,
        [
            "the device vendor2.com/lost, which is not registered",
            "programs of its vendor (hooks) of the device vendor1.com/multi=baz",
        ]
    );
}

#[test]
fn a_later_folder_wins_and_what_cannot_be_read_is_told_where_a_device_lacks() {
    let (first, _) = machine(Allowed::All);
    let second = tempfile::tempdir().unwrap();
    let other =
        "kind: vendor1.com/device\ndevices: [{name: foo, containerEdits: {env: [FOO=other]}}]";
    fs::write(second.path().join("a.yml"), other).unwrap();
    fs::write(second.path().join("b.yaml"), "devices: 7").unwrap();
    let no_folder = second.path().join("a.yml");
    let folders = vec![no_folder, first.path().to_owned(), second.path().to_owned()];
    let devices = Devices::of(folders, Allowed::All);
    let handed = devices.hand(&[], &["vendor1.com/device=foo".to_owned()]);
    assert_eq!(
        handed.unwrap().env,
        [("FOO".to_owned(), "other".to_owned())]
    );
    let lacking = devices
        .hand(&[], &["vendor3.com/x=y".to_owned()])
        .unwrap_err();
    let hint = lacking.hint();
    assert!(
        hint.contains("this machine has vendor1.com/device=foo, "),
        "{hint}"
    );
    assert!(hint.contains("a.yml: Not a directory"), "{hint}");
    assert!(
        hint.contains("cannot read") && hint.contains("b.yaml"),
        "{hint}"
    );
}

#[test]
fn a_machine_without_descriptions_says_so() {
    let devices = Devices::default();
    let asked = [Asked::parse("gpu,required").unwrap()];
    let hint = devices.hand(&asked, &[]).unwrap_err().hint();
    assert!(
        hint.starts_with("this machine registers no device; "),
        "{hint}"
    );
}
