//! The host's certificates: trusted inside, and not a byte of them left.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use cairn_sandbox::{CaTrust, Pem, Sandbox};

use crate::fixture::{Fixture, Place, run, tree, write};
use crate::mode::ALL;
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    cases![ALL;
        an_untouched_bundle_leaves_nothing,
        every_family_is_found,
        changed_bundles_lose_the_block_only,
        copies_and_moves_lose_it_too,
        the_environment_points_to_it,
        an_image_without_bundles_gets_the_hosts_alone,
    ]
}

const OWN: &str = "-----BEGIN CERTIFICATE-----\nIMAGE\n-----END CERTIFICATE-----\n";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nHOSTSECRETBYTES\n-----END CERTIFICATE-----\n";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

fn with_bundle(fixture: &Fixture, place: &Place, script: &str) -> Sandbox {
    let extra = fixture.dir("certificates");
    write(&extra.join(BUNDLE), OWN);
    trusting(fixture, place, &extra, script)
}

fn trusting(fixture: &Fixture, place: &Place, extra: &Path, script: &str) -> Sandbox {
    let mut sandbox = fixture.shell(place, script);
    sandbox.lowers.push(extra.to_owned());
    sandbox.ca = Some(CaTrust {
        pem: Pem::Text(PEM.to_owned()),
        set_env: true,
    });
    sandbox
}

/// Every file below that holds a byte of the host's certificates.
fn leaks(dir: &Path) -> Vec<String> {
    tree(dir)
        .into_iter()
        .filter_map(|entry| entry.strip_prefix("f ").map(str::to_owned))
        .filter(|path| {
            let content = fs::read(dir.join(path)).unwrap();
            let text = String::from_utf8_lossy(&content);
            text.contains("HOSTSECRET") || text.contains("cairn")
        })
        .collect()
}

fn an_untouched_bundle_leaves_nothing(fixture: &Fixture) {
    let place = fixture.place();
    let script = format!("cat /{BUNDLE}; stat -c %a /{BUNDLE} /etc /");
    let seen = run(&with_bundle(fixture, &place, &script)).succeeded();
    assert!(
        seen.starts_with(OWN) && seen.contains("HOSTSECRETBYTES"),
        "{seen}"
    );
    assert!(seen.ends_with("644\n755\n755"), "{seen}");
    assert_eq!(tree(&place.upper), [""; 0]);
    // Touching it without a change is no change either.
    let place = fixture.place();
    let script = format!("chmod 600 /{BUNDLE}; chmod 644 /{BUNDLE}");
    run(&with_bundle(fixture, &place, &script)).succeeded();
    assert!(!tree(&place.upper).contains(&format!("f {BUNDLE}")));
}

fn every_family_is_found(fixture: &Fixture) {
    let red_hat = fixture.dir("red-hat");
    let pem = "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";
    write(&red_hat.join(pem), OWN);
    fs::create_dir_all(red_hat.join("etc/pki/tls/certs")).unwrap();
    let link = red_hat.join("etc/pki/tls/certs/ca-bundle.crt");
    symlink(Path::new("/").join(pem), link).unwrap();
    let suse = fixture.dir("suse");
    write(&suse.join("var/lib/ca-certificates/ca-bundle.pem"), OWN);
    fs::create_dir_all(suse.join("etc/ssl")).unwrap();
    symlink(
        "../../var/lib/ca-certificates/ca-bundle.pem",
        suse.join("etc/ssl/ca-bundle.pem"),
    )
    .unwrap();
    let alpine = fixture.dir("alpine");
    write(&alpine.join("etc/ssl/certs/ca-certificates.crt"), OWN);
    symlink("certs/ca-certificates.crt", alpine.join("etc/ssl/cert.pem")).unwrap();
    for (image, path) in [
        (red_hat, "/etc/pki/tls/certs/ca-bundle.crt"),
        (suse, "/etc/ssl/ca-bundle.pem"),
        (alpine, "/etc/ssl/cert.pem"),
    ] {
        let place = fixture.place();
        let script = format!("grep -c HOSTSECRETBYTES {path}; grep -c IMAGE {path}");
        assert_eq!(
            run(&trusting(fixture, &place, &image, &script)).succeeded(),
            "1\n1",
            "{path}"
        );
        assert_eq!(tree(&place.upper), [""; 0]);
    }
}

fn changed_bundles_lose_the_block_only(fixture: &Fixture) {
    for (script, expected) in [
        (format!("echo added >> /{BUNDLE}"), format!("{OWN}added\n")),
        (
            format!("cp /{BUNDLE} /n; echo added >> /n; mv /n /{BUNDLE}"),
            format!("{OWN}added\n"),
        ),
        (
            format!("sed -i s/IMAGE/OTHER/ /{BUNDLE}"),
            OWN.replace("IMAGE", "OTHER"),
        ),
        (format!("echo new > /{BUNDLE}"), "new\n".to_owned()),
        (
            format!(
                "touch -d @1000000000 /{BUNDLE}; echo x >> /{BUNDLE}; touch -d @1000000000 /{BUNDLE}"
            ),
            format!("{OWN}x\n"),
        ),
    ] {
        let place = fixture.place();
        run(&with_bundle(fixture, &place, &script)).succeeded();
        let kept = fs::read_to_string(place.upper.join(BUNDLE)).unwrap();
        assert_eq!(kept, expected, "{script}");
        assert_eq!(leaks(&place.upper), [""; 0], "{script}");
        if script.starts_with("touch") {
            let modified = fs::metadata(place.upper.join(BUNDLE))
                .unwrap()
                .modified()
                .unwrap();
            let age = modified
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs();
            assert_eq!(age, 1_000_000_000, "the time the step gave it stays");
        }
    }
}

fn copies_and_moves_lose_it_too(fixture: &Fixture) {
    let place = fixture.place();
    let script = format!(
        "mkdir -p /opt/py/certifi; cp /{BUNDLE} /opt/copy.bin; cp /{BUNDLE} /opt/copy.pem; \
         cat /{BUNDLE} /{BUNDLE} > /opt/py/certifi/cacert.pem; head -c 150 /{BUNDLE} > /opt/cut.crt; \
         cp $SSL_CERT_FILE /opt/from-environment; mv /{BUNDLE} /opt/moved"
    );
    run(&with_bundle(fixture, &place, &script)).succeeded();
    assert_eq!(leaks(&place.upper), [""; 0]);
    let read = |path: &str| fs::read_to_string(place.upper.join(path)).unwrap();
    for path in [
        "opt/copy.bin",
        "opt/copy.pem",
        "opt/moved",
        "opt/from-environment",
    ] {
        assert_eq!(read(path), OWN, "{path}");
    }
    assert_eq!(read("opt/py/certifi/cacert.pem"), format!("{OWN}{OWN}"));
}

fn the_environment_points_to_it(fixture: &Fixture) {
    let place = fixture.place();
    let script = "env | sort; grep -c HOSTSECRETBYTES $SSL_CERT_FILE; grep -c IMAGE $PIP_CERT";
    let mut sandbox = with_bundle(fixture, &place, script);
    sandbox
        .env
        .push(("CURL_CA_BUNDLE".to_owned(), "/mine".to_owned()));
    let seen = run(&sandbox).succeeded();
    for expected in [
        "SSL_CERT_FILE=/dev/.cairn/ca-bundle.crt\n",
        "REQUESTS_CA_BUNDLE=/dev/.cairn/ca-bundle.crt\n",
        "NODE_EXTRA_CA_CERTS=/dev/.cairn/ca-bundle.crt\n",
        "GIT_SSL_CAINFO=/dev/.cairn/ca-bundle.crt\n",
        "CURL_CA_BUNDLE=/mine\n",
    ] {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
    assert!(seen.ends_with("1\n1"), "{seen}");
    if let Some(ca) = &mut sandbox.ca {
        ca.set_env = false;
    }
    sandbox.writable = cairn_sandbox::Writable::Tmpfs;
    sandbox.argv = vec!["env".to_owned()];
    assert_eq!(run(&sandbox).succeeded(), "PATH=/bin\nCURL_CA_BUNDLE=/mine");
}

fn an_image_without_bundles_gets_the_hosts_alone(fixture: &Fixture) {
    let place = fixture.place();
    let nothing: PathBuf = fixture.dir("nothing");
    let script = "grep -c BEGIN $SSL_CERT_FILE; cp $SSL_CERT_FILE /opt.pem";
    assert_eq!(
        run(&trusting(fixture, &place, &nothing, script)).succeeded(),
        "1"
    );
    assert_eq!(leaks(&place.upper), [""; 0]);
}
