//! Verdicts on files, settings and licences: a table over one small image, and the public files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cairn_diagnostic::Source;
use cairn_oci::RunConfig;
use cairn_store::SnapshotId;
use cairn_testkit::{TempStore, tree};

use super::filesystem::{check_content, check_existence, check_licenses};
use super::subject::Inspection;
use super::*;

/// Two layers: the upper one hides and replaces things of the lower one.
fn image(store: &TempStore) -> Vec<SnapshotId> {
    let lower = store.begin_snapshot().expect("a snapshot");
    tree(
        lower.upper(),
        &[
            "etc/passwd=root:x:0:0:root:/root:/bin/bash\nann:x:1000:1001::/home/ann:/bin/sh\n",
            "etc/apt/sources.list=deb http://archive.ubuntu.com/ubuntu jammy main\n",
            "etc/gone=x",
            "usr/bin/tool=#!/bin/sh\n",
            "usr/bin/setuid=x",
            "usr/bin/grouped=x",
            "usr/bin/plain=x",
            "usr/bin/link>tool",
            "usr/bin/broken>../../nowhere",
            "usr/bin/out>/etc/passwd",
            "usr/bin/loop>loop",
            "bin>usr/bin",
            "tmp/",
            "empty=",
            "json={\"a\": 1, \"b\": [2]}\n",
            "lines=first\nsecond\nthird\n",
            "usr/share/doc/good/copyright=License: MIT\n",
            "usr/share/doc/bad/copyright=License: agpl-3.0\n",
            "usr/share/doc/none/readme=x",
            "usr/share/doc/libgnutls30/copyright=AGPL\n",
            "usr/share/doc/README=not a package",
            "opt/app/data=x",
        ],
    );
    let mode = |path: &str, mode: u32| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(lower.upper().join(path), permissions).expect("a mode");
    };
    mode("usr/bin/tool", 0o755);
    mode("usr/bin/setuid", 0o4755);
    mode("usr/bin/grouped", 0o610);
    mode("usr/bin/plain", 0o644);
    mode("etc/passwd", 0o644);
    mode("opt/app", 0o750);
    mode("tmp", 0o1777);
    lower
        .set_owner(Path::new("opt/app"), 1000, 1001)
        .expect("an owner");
    std::fs::write(lower.upper().join("latin"), b"caf\xe9\n").expect("a file");
    let lower = lower.commit().expect("a commit");
    let upper = store.snapshot(&["-etc/gone", "-empty", "!opt/new/", "lines=replaced\n"]);
    vec![lower, upper]
}

fn config() -> RunConfig {
    let text = r#"{
        "User": "luke",
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
        "Env": ["PATH=/usr/bin:/bin", "SOME_KEY=SOME_VAL", "EMPTY_VAR=", "FOO_BAR=FOO\\:BAR=BAZ",
                "REGEX_VAR=bash-2.1"],
        "Entrypoint": ["/entry.sh"],
        "Cmd": ["/bin/bash", "-l"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/app",
        "Labels": {"commit": "0123456789abcdef", "my-label": "my fine label", "empty": ""}
    }"#;
    serde_json::from_str(text).expect("a config")
}

/// One test in YAML, and the failures it must have, one a line.
type Case = (&'static str, &'static str);

const EXISTENCE: &[Case] = &[
    ("path: /", ""),
    ("path: /etc/passwd", ""),
    ("path: etc/passwd", ""),
    ("path: /etc/passwd\n  shouldExist: true", ""),
    (
        "path: /etc/passwd\n  shouldExist: false",
        "/etc/passwd: expected not to exist, got -rw-r--r--",
    ),
    ("path: /foo/bar", "/foo/bar: expected to exist, got nothing"),
    ("path: /foo/bar\n  shouldExist: false", ""),
    (
        "path: /etc/gone",
        "/etc/gone: expected to exist, got nothing",
    ),
    ("path: /etc/gone\n  shouldExist: no", ""),
    ("path: /opt/app/data", ""),
    ("path: /etc/hosts", ""),
    ("path: /proc", ""),
    ("path: /bin/tool", ""),
    ("path: /bin/broken", ""),
    ("path: /bin/loop", ""),
    (
        "path: /bin/loop/x",
        "/bin/loop/x: expected to exist, got nothing",
    ),
    (
        "path: /etc/passwd/",
        "/etc/passwd/: expected to exist, got nothing",
    ),
    ("path: /bin/", ""),
    ("path: $DIR/tool", ""),
    ("path: ${DIR}/absent\n  shouldExist: false", ""),
    ("path: /etc/passwd\n  permissions: '-rw-r--r--'", ""),
    (
        "path: /etc/passwd\n  permissions: '-rwxrwxrwx'",
        "mode of /etc/passwd: expected -rwxrwxrwx, got -rw-r--r--",
    ),
    ("path: /tmp\n  permissions: dtrwxrwxrwx", ""),
    (
        "path: /tmp\n  permissions: drwxrwxrwt",
        "mode of /tmp: expected drwxrwxrwt, got dtrwxrwxrwx",
    ),
    ("path: /usr/bin/setuid\n  permissions: urwxr-xr-x", ""),
    ("path: /usr/bin/link\n  permissions: Lrwxrwxrwx", ""),
    ("path: /bin\n  permissions: Lrwxrwxrwx", ""),
    (
        "path: /opt/app\n  permissions: drwxr-x---\n  uid: 1000\n  gid: 1001",
        "",
    ),
    (
        "path: /opt/app\n  uid: 0",
        "owner of /opt/app: expected 0, got 1000",
    ),
    (
        "path: /opt/app\n  gid: 7",
        "group of /opt/app: expected 7, got 1001",
    ),
    (
        "path: /opt/app\n  uid: 1\n  gid: 2\n  permissions: '-'",
        "mode of /opt/app: expected -, got drwxr-x---\nowner of /opt/app: expected 1, got 1000\n\
         group of /opt/app: expected 2, got 1001",
    ),
    ("path: /usr/bin/tool\n  isExecutableBy: owner", ""),
    ("path: /usr/bin/tool\n  isExecutableBy: group", ""),
    ("path: /usr/bin/tool\n  isExecutableBy: other", ""),
    ("path: /usr/bin/tool\n  isExecutableBy: any", ""),
    ("path: /usr/bin/grouped\n  isExecutableBy: group", ""),
    ("path: /usr/bin/grouped\n  isExecutableBy: any", ""),
    (
        "path: /usr/bin/grouped\n  isExecutableBy: owner",
        "mode of /usr/bin/grouped: expected executable by its owner, got -rw---x---",
    ),
    (
        "path: /usr/bin/grouped\n  isExecutableBy: other",
        "mode of /usr/bin/grouped: expected executable by others, got -rw---x---",
    ),
    (
        "path: /usr/bin/plain\n  isExecutableBy: any",
        "mode of /usr/bin/plain: expected executable by anybody, got -rw-r--r--",
    ),
];

const CONTENT: &[Case] = &[
    (
        "path: /etc/passwd\n  expectedContents: ['root:x:0:0:root:/root:/bin/bash']",
        "",
    ),
    (
        "path: /etc/apt/sources.list\n  expectedContents: ['.*archive\\.ubuntu\\.com.*']",
        "",
    ),
    (
        "path: /etc/apt/sources.list\n  excludedContents: ['.*gce_debian_mirror.*']",
        "",
    ),
    (
        "path: /etc/apt/sources.list\n  excludedContents: ['ubuntu']",
        "/etc/apt/sources.list: expected no match of `ubuntu`, got deb \
         http://archive.ubuntu.com/ubuntu jammy main",
    ),
    (
        "path: /lines\n  expectedContents: ['first', 'replaced']",
        "/lines: expected a match of `first`, got replaced",
    ),
    ("path: /usr/bin/out\n  expectedContents: ['^root:']", ""),
    ("path: /bin/link\n  expectedContents: ['^#!/bin/sh']", ""),
    (
        "path: /etc/passwd\n  expectedContents: ['^ann:']",
        "/etc/passwd: expected a match of `^ann:`, \
      got root:x:0:0:root:/root:/bin/bash\nann:x:1000:1001::/home/ann:/bin/sh",
    ),
    ("path: /etc/passwd\n  expectedContents: ['(?m)^ann:']", ""),
    (
        "path: /json\n  expectedContents: ['{\"a\": 1, \"b\": \\[2\\]}']",
        "",
    ),
    ("path: /latin\n  expectedContents: ['^caf.\\n$']", ""),
    ("path: /etc/hosts\n  excludedContents: ['127']", ""),
    (
        "path: /etc/hosts\n  expectedContents: ['127']",
        "/etc/hosts: expected a match of `127`, got nothing",
    ),
    ("path: /etc", "/etc: expected a file, got a directory"),
    (
        "path: /absent\n  excludedContents: ['x']",
        "/absent: expected a file, got nothing",
    ),
    (
        "path: /bin/broken",
        "/bin/broken: expected a file, got nothing",
    ),
    ("path: /bin/loop", "/bin/loop: expected a file, got nothing"),
    ("path: $DIR/tool\n  expectedContents: ['sh']", ""),
    (
        "path: /json\n  excludedContents: ['(?=a)']",
        "/json: expected a pattern, got `(?=a)` is not a regular expression: unknown flag or group",
    ),
];

const METADATA: &[Case] = &[
    ("envVars: [{key: SOME_KEY, value: SOME_VAL}]", ""),
    ("env: [{key: SOME_KEY, value: SOME_VAL}]", ""),
    (
        "envVars: [{key: SOME_KEY, value: SOME}]",
        "variable `SOME_KEY`: expected `SOME`, got `SOME_VAL`",
    ),
    ("envVars: [{key: SOME_KEY, value: SOME, isRegex: true}]", ""),
    ("envVars: [{key: EMPTY_VAR, value: ''}]", ""),
    ("envVars: [{key: EMPTY_VAR}]", ""),
    ("envVars: [{key: FOO_BAR, value: 'FOO\\:BAR=BAZ'}]", ""),
    (
        "envVars: [{key: REGEX_VAR, value: '[a-z]+-2\\.1\\.*', isRegex: true}]",
        "",
    ),
    (
        "envVars: [{key: REGEX_VAR, value: '^2', isRegex: true}]",
        "variable `REGEX_VAR`: expected a match of `^2`, got `bash-2.1`",
    ),
    (
        "envVars: [{key: ABSENT, value: ''}]",
        "variable `ABSENT`: expected ``, got nothing: it is not set",
    ),
    ("envVars: [{key: DIR, value: /usr/bin}]", ""),
    ("unboundEnvVars: [{key: BAR_FOO}]", ""),
    (
        "unboundEnvVars: [{key: SOME_KEY}]",
        "variable `SOME_KEY`: expected not set, got `SOME_VAL`",
    ),
    ("labels: [{key: commit, value: 0123456789abcdef}]", ""),
    (
        "labels: [{key: my-label, value: 'my .+ label', isRegex: true}]",
        "",
    ),
    ("labels: [{key: empty, value: ''}]", ""),
    (
        "labels: [{key: my-label, value: 'my .+ label'}]",
        "label `my-label`: expected `my .+ label`, got `my fine label`",
    ),
    (
        "labels: [{key: absent, value: x}]",
        "label `absent`: expected `x`, got nothing: it is not set",
    ),
    ("exposedPorts: [8080, '53']", ""),
    ("exposedPorts: [8080/tcp]", ""),
    (
        "exposedPorts: [80]",
        "exposed ports: expected `80`, got 53/udp, 8080/tcp",
    ),
    (
        "exposedPorts: [8080/udp]",
        "exposed ports: expected `8080/udp`, got 53/udp, 8080/tcp",
    ),
    ("unexposedPorts: ['80']", ""),
    (
        "unexposedPorts: ['53']",
        "exposed ports: expected no 53, got 53/udp, 8080/tcp",
    ),
    ("volumes: [/data]", ""),
    ("volumes: [/root]", "volumes: expected `/root`, got /data"),
    ("unmountedVolumes: ['/root']", ""),
    (
        "unmountedVolumes: ['/data']",
        "volumes: expected no /data, got /data",
    ),
    ("entrypoint: [/entry.sh]", ""),
    (
        "entrypoint: []",
        "entry point: expected [], got [\"/entry.sh\"]",
    ),
    ("cmd: [/bin/bash, -l]", ""),
    (
        "cmd: [/bin/bash]",
        "command: expected [\"/bin/bash\"], got [\"/bin/bash\", \"-l\"]",
    ),
    ("workdir: /app", ""),
    ("workdir: /", "working directory: expected `/`, got `/app`"),
    ("user: luke", ""),
    ("user: root", "user: expected `root`, got `luke`"),
    (
        "user: root\n  workdir: /\n  volumes: [/x]",
        "volumes: expected `/x`, got /data\nworking directory: expected `/`, got `/app`\n\
         user: expected `root`, got `luke`",
    ),
];

const LICENSES: &[Case] = &[
    (
        "debian: true",
        "/usr/share/doc/bad/copyright: expected a licence that is allowed, got AGPL\n\
         /usr/share/doc/none/copyright: expected a file, got nothing",
    ),
    ("debian: false", ""),
    ("files: [/usr/share/doc/good/copyright]", ""),
    (
        "files: [/usr/share/doc/libgnutls30/copyright, /absent]",
        "/usr/share/doc/libgnutls30/copyright: expected a licence that is allowed, got AGPL\n\
         /absent: expected a file, got nothing",
    ),
];

#[test]
fn verdicts_are_those_of_the_table() {
    let store = TempStore::new();
    let (snapshots, config) = (image(&store), config());
    let subject = Subject {
        store: &store,
        snapshots: &snapshots,
        config: &config,
    };
    let kinds = [
        ("fileExistenceTests:\n- name: a\n  ", EXISTENCE),
        ("fileContentTests:\n- name: a\n  ", CONTENT),
        ("metadataTest:\n  ", METADATA),
        ("licenseTests:\n- ", LICENSES),
    ];
    let mut wrong = Vec::new();
    let mut count = 0;
    for (head, cases) in kinds {
        for (case, wanted) in cases {
            let text = format!(
                "schemaVersion: 2.0.0\nglobalEnvVars: [{{key: DIR, value: /usr/bin}}]\n{head}{case}\n"
            );
            let found = failures(&text, &subject);
            if found != *wanted {
                wrong.push(format!("{head}{case}\n wanted: {wanted}\n found:  {found}"));
            }
            count += 1;
        }
    }
    assert_eq!(wrong, [""; 0], "{}", wrong.join("\n\n"));
    assert!(count >= 60, "{count} assertions");
}

fn failures(text: &str, subject: &Subject<'_>) -> String {
    let parsed = parse(&Source::new("t.yaml", text)).unwrap_or_else(|findings| {
        let all: Vec<String> = findings.iter().map(cairn_diagnostic::render).collect();
        panic!("{}", all.join("\n"))
    });
    let file = parsed.file;
    let inspection = Inspection::new(subject, &file.global_env).expect("a readable image");
    let existence = file
        .file_existence
        .iter()
        .map(|it| check_existence(it, &inspection));
    let content = file
        .file_content
        .iter()
        .map(|it| check_content(it, &inspection));
    let licenses = file
        .licenses
        .iter()
        .map(|it| check_licenses(it, &inspection));
    let settings = file.metadata.iter();
    let settings = settings.map(|it| Ok(metadata::check(it, subject.config, &inspection.env)));
    let all = existence.chain(content).chain(licenses).chain(settings);
    let lines: Vec<String> = all
        .flat_map(|failures| failures.expect("a verdict"))
        .map(|failure| failure.to_string())
        .collect();
    lines.join("\n")
}

/// A test without files of its own still has those every container has.
#[test]
fn an_empty_image_has_what_containers_have() {
    let store = TempStore::new();
    let subject = Subject {
        store: &store,
        snapshots: &[],
        config: &RunConfig::default(),
    };
    let text = "schemaVersion: 2.0.0\nfileExistenceTests:\n- {name: a, path: /}\n\
                - {name: b, path: /dev/shm}\n- {name: c, path: /etc/passwd}\n";
    assert_eq!(
        failures(text, &subject),
        "/etc/passwd: expected to exist, got nothing"
    );
}

/// The conformance data is not part of the project: it lies beside it, or where
/// `CAIRN_CONFORMANCE` says.
#[test]
#[allow(clippy::print_stderr, reason = "a skipped test must be seen")]
fn the_public_files_are_understood_in_full() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let data = std::env::var_os("CAIRN_CONFORMANCE").map_or(beside, Into::into);
    let Ok(files) = std::fs::read_dir(data.join("structure")) else {
        eprintln!("skipped: no conformance data at {}", data.display());
        return;
    };
    let mut tests = std::collections::BTreeMap::new();
    for file in files {
        let path = file.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&path).expect("a text");
        let parsed = parse(&Source::new(name.as_str(), text)).unwrap_or_else(|findings| {
            let all: Vec<String> = findings.iter().map(cairn_diagnostic::render).collect();
            panic!("{}", all.join("\n"))
        });
        assert_eq!(parsed.warnings, [], "{name}");
        tests.insert(name, parsed.file.test_count());
    }
    let counts: Vec<usize> = tests.values().copied().collect();
    assert_eq!(counts, [1, 1, 2, 1, 8, 1, 11], "{tests:?}");
}
