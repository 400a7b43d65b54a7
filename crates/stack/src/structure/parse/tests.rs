//! The parser against texts: what it reads, and how it says what is wrong.

use std::fmt::Write as _;

use super::*;

fn good(text: &str) -> TestFile {
    let parsed = parse(&Source::new("t.yaml", text)).unwrap_or_else(|findings| {
        let all: Vec<String> = findings.iter().map(cairn_diagnostic::render).collect();
        panic!("{}", all.join("\n"))
    });
    assert_eq!(parsed.warnings, [], "{text}");
    parsed.file
}

/// One line per finding, hints below it.
fn wrong(text: &str) -> String {
    let findings = parse(&Source::new("t.yaml", text)).expect_err("the file is wrong");
    let mut out = String::new();
    for finding in &findings {
        let _ = writeln!(out, "{finding}");
        for hint in &finding.hints {
            let _ = writeln!(out, "  {hint}");
        }
    }
    out
}

/// EPI-29, EPI-30, EPI-31: every key of the documented schema.
#[test]
fn every_key_is_read() {
    let file = good(
        r#"
schemaVersion: "2.0.0"
globalEnvVars:
  - key: "PATH"
    value: "/env/bin:$PATH"
containerRunOptions:
  user: "root"
  privileged: true
  allocateTty: true
  envFile: path/to/.env
  envVars: [SECRET_KEY_FOO, OTHER_SECRET_BAR]
  capabilities: [NET_BIND_SERVICE]
  bindMounts: ["/etc/example/dir:/etc/dir", "./data:/data:ro"]
  network: none
commandTests:
  - name: "gunicorn flask"
    setup: [["virtualenv", "/env"], ["pip", "install", "gunicorn", "flask"]]
    teardown: [[rm, -r, /env]]
    command: "which"
    args: ["gunicorn", 1]
    envVars: [{key: A, value: b}]
    exitCode: 3
    expectedOutput: ["/env/bin/gunicorn"]
    excludedOutput: ["a"]
    expectedError: ["b"]
    excludedError: ["c"]
fileExistenceTests:
  - name: 'Root'
    path: '/'
    shouldExist: true
    permissions: '-rw-r--r--'
    uid: 1000
    gid: 1001
    isExecutableBy: 'group'
  - {name: absent, path: /x, shouldExist: no, uid: -1}
fileContentTests:
  - name: 'Debian Sources'
    path: '/etc/apt/sources.list'
    expectedContents: ['.*httpredir\.debian\.org.*']
    excludedContents: ['.*gce_debian_mirror.*']
metadataTest:
  env: [{key: old, value: "1"}]
  envVars:
    - key: foo
      value: baz
  unboundEnvVars: [{key: BAR}]
  labels:
    - key: 'build-date'
      value: '^\d{4}'
      isRegex: true
  exposedPorts: [8080, "2345"]
  unexposedPorts: ["80"]
  volumes: ["/test"]
  unmountedVolumes: ["/root"]
  entrypoint: []
  cmd: ["/bin/bash"]
  workdir: "/app"
  user: "luke"
licenseTests:
- debian: true
  files: ["/foo/bar", "/baz/bat"]
"#,
    );
    let normal = serde_json::to_value(&file).unwrap();
    let wanted = serde_json::json!({
        "global_env": [{"key": "PATH", "value": "/env/bin:$PATH"}],
        "run_options": {
            "user": "root", "privileged": true, "allocate_tty": true,
            "env_vars": ["SECRET_KEY_FOO", "OTHER_SECRET_BAR"], "env_file": "path/to/.env",
            "capabilities": ["NET_BIND_SERVICE"],
            "bind_mounts": [
                {"source": "/etc/example/dir", "target": "/etc/dir", "read_only": false},
                {"source": "./data", "target": "/data", "read_only": true}
            ],
            "network": "None"
        },
        "commands": [{
            "name": "gunicorn flask",
            "setup": [["virtualenv", "/env"], ["pip", "install", "gunicorn", "flask"]],
            "teardown": [["rm", "-r", "/env"]],
            "env": [{"key": "A", "value": "b"}],
            "argv": ["which", "gunicorn", "1"],
            "exit_code": 3,
            "expected_output": ["/env/bin/gunicorn"], "excluded_output": ["a"],
            "expected_error": ["b"], "excluded_error": ["c"]
        }],
        "file_existence": [
            {"name": "Root", "path": "/", "should_exist": true, "permissions": "-rw-r--r--",
             "uid": 1000, "gid": 1001, "executable_by": "group"},
            {"name": "absent", "path": "/x", "should_exist": false, "permissions": null,
             "uid": null, "gid": null, "executable_by": null}
        ],
        "file_content": [{
            "name": "Debian Sources", "path": "/etc/apt/sources.list",
            "expected": [".*httpredir\\.debian\\.org.*"], "excluded": [".*gce_debian_mirror.*"]
        }],
        "metadata": {
            "env": [
                {"key": "old", "value": "1", "is_regex": false},
                {"key": "foo", "value": "baz", "is_regex": false}
            ],
            "unbound_env": ["BAR"],
            "labels": [{"key": "build-date", "value": "^\\d{4}", "is_regex": true}],
            "exposed_ports": ["8080", "2345"], "unexposed_ports": ["80"],
            "volumes": ["/test"], "unmounted_volumes": ["/root"],
            "entrypoint": [], "cmd": ["/bin/bash"], "workdir": "/app", "user": "luke"
        },
        "licenses": [{"debian": true, "files": ["/foo/bar", "/baz/bat"]}]
    });
    assert_eq!(normal, wanted);
}

#[test]
fn the_older_schema_has_commands_as_lists() {
    let file = good(
        "schemaVersion: '1.0.0'\ncommandTests:\n- name: a\n  command: ['sh', '-c', 'echo $PATH']\n\
         licenseTests:\n- debian: true\n  files:\n",
    );
    assert_eq!(file.commands[0].argv, ["sh", "-c", "echo $PATH"]);
    assert_eq!(file.licenses[0].files, [""; 0]);
}

#[test]
fn json_is_read_too() {
    let file =
        good(r#"{"schemaVersion": "2.0.0", "fileExistenceTests": [{"name": "a", "path": "/a"}]}"#);
    assert!(file.file_existence[0].should_exist, "by default");
}

#[test]
fn everything_wrong_is_reported_at_once() {
    assert_eq!(
        wrong(
            r#"schemaVersion: 2.0.0
commandTest:
- name: x
commandTests:
- name: a
  comand: ls
- command: ls
  exitCode: many
- name: b
  command: [ls]
  setup: [[], ls]
- plain
fileExistenceTests:
  name: x
fileContentTests:
- name: c
  expectedContent: x
metadataTest:
  workdir: [""]
  exposedPorts: [""]
  envVars: [{value: x}]
containerRunOptions:
  bindMounts: [nowhere]
  privileged: maybe
  network: my-net
"#
        ),
        "t.yaml:2:1: unknown key `commandTest` in the file\n  did you mean `commandTests`?\n\
         t.yaml:5:3: a command test needs a `command`\n\
         t.yaml:6:3: unknown key `comand` in a command test\n  did you mean `command`?\n\
         t.yaml:7:3: a command test needs a `name`\n\
         t.yaml:8:13: `exitCode` must be a whole number\n\
         t.yaml:10:12: `command` must be a single value, not a list\n  put the program into \
         `command` and its arguments into `args`\n\
         t.yaml:11:11: `setup` holds an empty command\n\
         t.yaml:11:15: `setup` must be a list, not a single value\n\
         t.yaml:12:3: a command test must be a mapping, not a single value\n\
         t.yaml:14:3: `fileExistenceTests` must be a list, not a mapping\n\
         t.yaml:16:3: a file content test needs a `path`\n\
         t.yaml:17:3: unknown key `expectedContent` in a file content test\n  did you mean \
         `expectedContents`?\n\
         t.yaml:19:12: `workdir` must be a single value, not a list\n\
         t.yaml:20:18: `exposedPorts` holds an empty entry\n\
         t.yaml:21:14: an entry of `envVars` needs a `key`\n\
         t.yaml:23:16: `nowhere` is not a mount\n  write it as in `/on/the/host:/inside` or \
         `/on/the/host:/inside:ro`\n\
         t.yaml:24:15: `privileged` must be true or false\n\
         t.yaml:25:12: `my-net` is no network that tests can have\n  known are `none`, `host` and \
         `bridge`, which is the usual one\n"
    );
}

#[test]
fn the_schema_version_is_needed_and_checked() {
    assert_eq!(
        wrong("commandTests: []\n"),
        "t.yaml:1:1: `schemaVersion` is missing\n  write `schemaVersion: '2.0.0'`\n"
    );
    assert_eq!(
        wrong("schemaVersion: 3.0.0\n"),
        "t.yaml:1:16: `3.0.0` is no known schema version\n  known are 2.0.0 and 1.0.0\n"
    );
    assert_eq!(
        wrong("schemaVersion: 1.0.0\nmetadataTest: {workdir: /}\n"),
        "t.yaml:2:15: `metadataTest` came with schema version 2.0.0\n"
    );
}

#[test]
fn a_bad_pattern_and_an_empty_file_are_warnings() {
    let warnings = |text: &str| {
        let parsed = parse(&Source::new("t.yaml", text)).expect("good enough");
        let lines: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
        lines.join("\n")
    };
    assert_eq!(
        warnings(
            "schemaVersion: 2.0.0\nfileContentTests:\n- name: a\n  path: /a\n  \
             expectedContents: ['(?=x)']\n"
        ),
        "t.yaml:5:22: `(?=x)` is not a regular expression: unknown flag or group"
    );
    assert_eq!(
        warnings("schemaVersion: 2.0.0\n"),
        "t.yaml:1:1: the file has no tests"
    );
}

#[test]
fn an_empty_metadata_test_is_none() {
    let text =
        "schemaVersion: 2.0.0\nmetadataTest:\n  volumes: []\nlicenseTests: [{debian: true}]\n";
    assert_eq!(good(text).metadata, None);
    let cmd = text.replace("volumes", "cmd");
    assert!(
        good(&cmd).metadata.is_some(),
        "an empty command is a demand"
    );
}
