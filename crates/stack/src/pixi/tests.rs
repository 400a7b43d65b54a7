//! MAN-03, MAN-04, MAN-05: what is told of a lock before a step runs, on the forms that pixi writes.

use super::*;

const MANIFEST: &str = "[workspace]\nchannels = [\"conda-forge\"]\nplatforms = [\"linux-64\", \"osx-arm64\"]\n\
    [dependencies]\npython = \">=3.11,<3.13\"\ntzdata = \">=2024\"\n[target.osx.dependencies]\nlibcxx = \"*\"\n\
    [pypi-dependencies]\nJS_Animation = \"==0.1\"\nown = { path = \".\" }\nrequests = \"*\"\n\
    [feature.ml]\nplatforms = [\"linux-64\"]\n[feature.ml.dependencies]\nroot = \"6.*\"\n[environments]\nml = [\"ml\"]\n";

fn lock() -> String {
    let list = |lines: &[&str]| {
        lines
            .iter()
            .map(|it| format!("      - {it}\n"))
            .collect::<String>()
    };
    let common = [
        "conda: https://c.example/conda-forge/linux-64/python-3.12.1-h0_0.conda",
        "conda: https://c.example/conda-forge/noarch/tzdata-2024b-h1_0.conda",
        "conda: https://c.example/conda-forge/noarch/requests-2.32.0-pyh_0.conda",
        "pypi: https://f.example/js_animation-0.1.tar.gz",
        "pypi: ./",
    ];
    let mut mac = common.to_vec();
    mac.push("conda: https://c.example/conda-forge/osx-arm64/libcxx-20.1-h_0.conda");
    let mut ml = common.to_vec();
    ml.push("conda: https://c.example/conda-forge/linux-64/root-6.32.2-h_0.tar.bz2");
    format!(
        "version: 6\nenvironments:\n  default:\n    packages:\n      linux-64:\n{}      osx-arm64:\n{}  ml:\n    packages:\n      linux-64:\n{}packages:\n\
         - pypi: ./\n  name: own\n  version: 0.1.0\n",
        list(&common),
        list(&mac),
        list(&ml)
    )
}

fn told(manifest: &str, lock: &str) -> Vec<String> {
    let manifest = Manifest::parse(&Source::new("pixi.toml", manifest)).unwrap();
    let lock = Lock::parse(lock).unwrap();
    let all = manifest.environments.iter();
    let all = all.flat_map(|it| stale(&manifest.source, it, &lock));
    all.map(|it| {
        let line = it.position().unwrap().line;
        format!("{line}: {}", it.message)
    })
    .collect()
}

#[test]
fn a_lock_of_this_manifest_says_nothing() {
    assert_eq!(told(MANIFEST, &lock()), [""; 0]);
}

/// MAN-04
#[test]
fn a_changed_manifest_is_told_at_its_line() {
    let more = MANIFEST.replace("tzdata", "numpy = \"*\"\ntzdata");
    let told_of_more = told(&more, &lock());
    assert_eq!(
        told_of_more[0],
        "6: pixi.lock has no `numpy` (environment `ml`, linux-64)"
    );
    let newer = MANIFEST.replace("<3.13", "<3.12");
    let told_of_newer = told(&newer, &lock());
    assert!(
        told_of_newer[0]
            .starts_with("5: pixi.lock has python 3.12.1, which `>=3.11,<3.12` does not allow"),
        "{told_of_newer:?}"
    );
    let pypi = MANIFEST.replace("==0.1", "==0.2");
    let told_of_pypi = told(&pypi, &lock());
    assert!(
        told_of_pypi[0].contains("JS_Animation 0.1, which `==0.2` does not allow"),
        "{told_of_pypi:?}"
    );
    let elsewhere = MANIFEST.replace("\"osx-arm64\"]", "\"osx-arm64\", \"linux-aarch64\"]");
    let told_elsewhere = told(&elsewhere, &lock());
    assert!(
        told_elsewhere[0].contains("(environment `default`, linux-aarch64)"),
        "{told_elsewhere:?}"
    );
    // A comment and a task change nothing that is installed.
    let remark = format!("# a remark\n{MANIFEST}[tasks]\nx = \"true\"\n");
    assert_eq!(told(&remark, &lock()), [""; 0]);
}

/// MAN-05
#[test]
fn the_platform_of_the_build_must_be_locked() {
    let manifest = Manifest::parse(&Source::new("pixi.toml", MANIFEST)).unwrap();
    let lock = Lock::parse(&lock()).unwrap();
    let lacks = |environment: &str, platform: &str| {
        lacks_platform(&manifest, &lock, environment, &platform.parse().unwrap())
    };
    assert_eq!(lacks("default", "linux/amd64"), None);
    assert_eq!(lacks("ml", "linux/amd64"), None);
    assert_eq!(
        lacks("default", "linux/arm64").as_deref(),
        Some("has nothing for linux-aarch64, and environment `default` is built for linux/arm64")
    );
    assert_eq!(
        lacks("test", "linux/amd64").as_deref(),
        Some("has no environment `test`")
    );
}

#[test]
fn an_unknown_form_is_not_judged() {
    assert!(Lock::parse("version: 99\nenvironments: {}\npackages: []\n").is_none());
    assert!(Lock::parse("version: 6\n").is_none());
    assert!(Manifest::parse(&Source::new("pyproject.toml", "[project]\nname = \"x\"\n")).is_none());
}
