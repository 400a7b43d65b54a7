//! `cairn build --provenance`, `--sbom`, `--attest`.

use std::path::PathBuf;

use serde_json::Value;

use crate::serving::Serving;
use crate::web::Web;
use crate::workshop::Workshop;

/// What an image layout in a directory of the workshop holds.
struct Layout(PathBuf);

impl Layout {
    fn of(workshop: &Workshop, name: &str) -> Self {
        Self(workshop.path().join(name))
    }

    fn blob(&self, digest: &Value) -> Value {
        let place = digest.as_str().expect("a digest").replace(':', "/");
        let bytes = std::fs::read(self.0.join("blobs").join(place)).expect("a blob");
        serde_json::from_slice(&bytes).expect("a document")
    }

    /// The index over the manifests that the layout's only name leads to.
    fn index(&self) -> Value {
        let bytes = std::fs::read(self.0.join("index.json")).expect("an index");
        let index: Value = serde_json::from_slice(&bytes).expect("an index");
        self.blob(&index["manifests"][0]["digest"])
    }

    /// The statements of the manifest at that place of the index, which must name the first.
    #[track_caller]
    fn statements(&self, at: usize, of: usize) -> Vec<Value> {
        let index = self.index();
        let (image, attested) = (&index["manifests"][of], &index["manifests"][at]);
        assert_eq!(attested["platform"]["os"], "unknown");
        assert_eq!(attested["platform"]["architecture"], "unknown");
        let marks = &attested["annotations"];
        assert_eq!(marks["vnd.docker.reference.type"], "attestation-manifest");
        assert_eq!(marks["vnd.docker.reference.digest"], image["digest"]);
        let manifest = self.blob(&attested["digest"]);
        assert_eq!(manifest["subject"]["digest"], image["digest"]);
        let layers = manifest["layers"].as_array().expect("layers");
        let statements = layers.iter().map(|layer| {
            let statement = self.blob(&layer["digest"]);
            let kind = &layer["annotations"]["in-toto.io/predicate-type"];
            assert_eq!(&statement["predicateType"], kind);
            let subject = statement["subject"][0]["digest"]["sha256"].as_str();
            let told = format!("sha256:{}", subject.unwrap_or_default());
            assert_eq!(image["digest"], told);
            statement
        });
        statements.collect()
    }
}

fn kinds(statements: &[Value]) -> Vec<&str> {
    let kinds = statements.iter();
    kinds
        .filter_map(|it| it["predicateType"].as_str())
        .collect()
}

#[test]
fn an_image_says_how_it_was_built() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/foo", "data");
    workshop.write(
        "app/Dockerfile",
        "FROM base\nARG FOO\nRUN --mount=type=secret,id=token cat /run/secrets/token > /dev/null; echo ok > /foo\n\
         COPY --link foo /tmp/\n",
    );
    let build = |provenance: &str, out: &str| {
        let output = format!("type=oci,tar=false,dest={out}");
        let said = workshop
            .command(&[
                "build",
                "-t",
                "app:1",
                "--build-arg",
                "FOO=bar",
                "--label",
                "lbl=abc",
                "--secret",
                "id=token,env=TOKEN",
                "--build-context",
                "unused=https://me:pass@host.invalid/x",
                "--provenance",
                provenance,
                "-o",
                &output,
                "app",
            ])
            .env("TOKEN", "a-very-secret-value")
            .output()
            .expect("it runs");
        crate::workshop::said(said).success();
        let mut statements = Layout::of(&workshop, out).statements(1, 0);
        assert_eq!(statements.len(), 1);
        statements.remove(0)
    };

    let full = build("true", "full");
    assert_eq!(full["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(full["predicateType"], "https://slsa.dev/provenance/v1");
    let name = full["subject"][0]["name"].as_str().unwrap();
    assert!(
        name.starts_with("pkg:docker/app@1?platform=linux%2F"),
        "{name}"
    );
    let definition = &full["predicate"]["buildDefinition"];
    let request = &definition["externalParameters"]["request"];
    assert_eq!(request["args"]["build-arg:FOO"], "bar");
    assert_eq!(request["args"]["label:lbl"], "abc");
    let context = &request["args"]["context:unused"];
    assert_eq!(
        context, "https://xxxxx:xxxxx@host.invalid/x",
        "and not fetched"
    );
    assert_eq!(request["secrets"][0]["id"], "token");
    assert_eq!(request["locals"][1]["name"], "dockerfile");
    let base = &definition["resolvedDependencies"][0];
    assert!(
        base["uri"]
            .as_str()
            .unwrap()
            .starts_with("pkg:docker/base@latest")
    );
    assert_eq!(base["digest"]["sha256"].as_str().map(str::len), Some(64));
    let config = &definition["internalParameters"]["buildConfig"];
    let steps = config["llbDefinition"].as_array().unwrap();
    let kinds: Vec<String> = steps
        .iter()
        .map(|step| match step["op"]["Op"].as_object() {
            Some(op) => op.keys().next().cloned().unwrap_or_default(),
            None => "result".to_owned(),
        })
        .collect();
    assert_eq!(
        kinds,
        ["source", "exec", "source", "file", "merge", "result"]
    );
    let metadata = &full["predicate"]["runDetails"]["metadata"];
    let own = &metadata["buildkit_metadata"];
    let line = |step: &str| own["source"]["locations"][step]["locations"][0]["ranges"][0].clone();
    assert_eq!(line("step1")["start"]["line"], 3);
    assert_eq!(line("step4")["end"]["line"], 4);
    assert_eq!(
        own["layers"]["step1:0"][0].as_array().map(Vec::len),
        Some(2)
    );
    assert!(metadata["startedOn"].as_str() < metadata["finishedOn"].as_str());
    assert!(!full.to_string().contains("a-very-secret-value"));

    let short = build("mode=min,version=v0.2,builder-id=https://ci/7", "short");
    assert_eq!(short["predicateType"], "https://slsa.dev/provenance/v0.2");
    let predicate = &short["predicate"];
    assert_eq!(predicate["builder"]["id"], "https://ci/7");
    assert_eq!(predicate["metadata"]["completeness"]["parameters"], false);
    assert_eq!(predicate["buildConfig"], Value::Null);
    assert!(!short.to_string().contains("bar") && !short.to_string().contains("token"));

    let inspected = workshop
        .cairn(&["inspect", "--attestations", "app:1"])
        .success();
    let told: Value = serde_json::from_str(&inspected.out).unwrap();
    assert_eq!(told[0], short, "what leaves is what is kept");
}

#[test]
fn the_same_epoch_gives_the_same_bytes() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/Dockerfile", "FROM base\nRUN echo 1 > /one\n");
    let index = |out: &str| {
        let output = format!("type=oci,tar=false,dest={out}");
        let flags = ["--attest", "type=provenance", "--attest", "type=sbom"];
        let build = ["build", "--no-cache", "-o", &output, "app"];
        let all: Vec<&str> = build.iter().chain(&flags).copied().collect();
        let mut command = workshop.command(&all);
        let said = command.env("SOURCE_DATE_EPOCH", "1700000000").output();
        crate::workshop::said(said.expect("it runs")).success();
        Layout::of(&workshop, out).index()
    };
    assert_eq!(index("one"), index("two"));
}

#[test]
fn files_have_what_is_attested_of_them_beside_them() {
    let workshop = Workshop::empty();
    workshop.write(
        "app/status",
        "Package: hello\nVersion: 2.10\nArchitecture: amd64\n",
    );
    workshop.write(
        "app/Dockerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY status /var/lib/dpkg/status\n",
    );
    let build = |flags: &[&str], output: &str| {
        let all = ["build", "--provenance=true", "--sbom=true", "-o", output];
        let all: Vec<&str> = all.iter().chain(flags).copied().chain(["app"]).collect();
        workshop.cairn(&all)
    };
    if build(&[], "type=local,dest=out").code == 3 {
        let _ = cairn_testkit::needs("a store", false);
        return;
    }
    let list: Value = serde_json::from_str(&workshop.read("out/sbom.spdx.json")).unwrap();
    assert_eq!(list["subject"][0]["name"], "var/lib/dpkg/status");
    assert_eq!(list["predicate"]["spdxVersion"], "SPDX-2.3");
    assert_eq!(list["predicate"]["packages"][1]["name"], "hello");
    let provenance: Value = serde_json::from_str(&workshop.read("out/provenance.json")).unwrap();
    assert_eq!(
        provenance["predicateType"],
        "https://slsa.dev/provenance/v1"
    );

    let both = ["--platform", "linux/amd64,linux/arm64"];
    build(&both, "type=local,dest=split").success();
    workshop.read("split/linux_arm64/provenance.json");
    workshop.read("split/linux_amd64/sbom.spdx.json");

    workshop.write(
        "app/Dockerfile",
        "FROM scratch\nARG TARGETARCH\nCOPY status /$TARGETARCH\n",
    );
    let output = "type=local,dest=side,platform-split=false,attestation-prefix=of-";
    build(&both, output).success();
    workshop.read("side/of-provenance.linux_amd64.json");
    workshop.read("side/of-sbom.spdx.linux_arm64.json");

    let only = ["--provenance=inline-only=true"];
    build(&only, "type=local,dest=only").success();
    assert!(!workshop.path().join("only/provenance.json").exists());

    workshop.write(
        "app/Dockerfile",
        "FROM scratch\nCOPY status /provenance.json\n",
    );
    build(&[], "type=local,dest=taken")
        .code(1)
        .err_has("the image has a file `provenance.json`")
        .err_has("attestation-prefix=");
}

#[test]
fn a_generator_lists_packages_of_the_image_and_of_stages_that_ask() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "generator/Dockerfile",
        "FROM base\nCOPY <<\"EOF\" /scan.sh\n\
         say() { echo \"{\\\"predicateType\\\":\\\"https://spdx.dev/Document\\\",\\\"predicate\\\":{\\\"name\\\":\\\"$1 $2\\\"}}\" > $BUILDKIT_SCAN_DESTINATION/$1.spdx.json; }\n\
         say sbom \"$(ls $BUILDKIT_SCAN_SOURCE) $BUILDKIT_SCAN_DEPTH\"\n\
         if test \"$BUILDKIT_SCAN_SOURCE_EXTRAS\"; then cd $BUILDKIT_SCAN_SOURCE_EXTRAS; for extra in *; do say $extra \"$(echo $(ls $extra))\"; done; fi\n\
         EOF\nCMD sh /scan.sh\n",
    );
    workshop
        .cairn(&["build", "-t", "generator", "./generator"])
        .success();
    workshop.write("app/in-context", "");
    workshop.write(
        "app/Dockerfile",
        "ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\n\
         FROM scratch AS file\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY <<EOF /in-stage\nEOF\n\
         FROM scratch AS quiet\nCOPY --from=file /in-stage /x\n\
         FROM scratch AS unused\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN would-fail\n\
         FROM quiet\nARG BUILDKIT_SBOM_SCAN_STAGE=true\n",
    );
    let names = |flags: &[&str], out: &str| {
        let output = format!("type=oci,tar=false,dest={out}");
        let build = ["build", "-o", &output, "./app"];
        let all: Vec<&str> = build.iter().chain(flags).copied().collect();
        workshop.cairn(&all).success();
        let statements = Layout::of(&workshop, out).statements(1, 0);
        let names = statements.iter().map(|it| it["predicate"]["name"].clone());
        let mut names: Vec<String> = names
            .map(|name| name.as_str().unwrap_or_default().trim().to_owned())
            .collect();
        names[1..].sort();
        names
    };
    assert_eq!(
        names(&["--sbom=generator=generator,depth=9"], "generated"),
        [
            "sbom x 9",
            "sbom-context Dockerfile in-context",
            "sbom-file in-stage",
        ]
    );
    let off = [
        "--sbom=true",
        "--build-arg",
        "BUILDKIT_SBOM_SCAN_CONTEXT=false",
        "--build-arg",
        "BUILDKIT_SBOM_SCAN_STAGE=false",
    ];
    assert_eq!(names(&off, "own"), ["sbom"]);

    let refused = |generator: &str| {
        let flag = format!("--sbom=generator={generator}");
        workshop.cairn(&["build", "--offline", &flag, "./app"])
    };
    refused("base")
        .code(2)
        .err_has("scanner base does not have cmd");
    refused("nowhere:1")
        .code(2)
        .err_has("the generator of the list");
    workshop.write(
        "generator/Dockerfile",
        "FROM base\nCMD echo no > /run/out/x\n",
    );
    workshop
        .cairn(&["build", "-t", "wrong", "./generator"])
        .success();
    refused("wrong").code(1).err_has("is no in-toto statement");
}

#[test]
fn what_came_from_the_web_is_a_material() {
    let workshop = Workshop::empty();
    workshop.write("web/file", "from the web");
    let web = Web::of(&workshop.path().join("web"));
    workshop.write(
        "app/Dockerfile",
        &format!("FROM scratch\nADD {} /\n", web.url("file")),
    );
    let said = workshop.cairn(&["build", "--provenance=true", "-o", "out", "app"]);
    if said.code == 3 {
        let _ = cairn_testkit::needs("a store", false);
        return;
    }
    said.success();
    let told: Value = serde_json::from_str(&workshop.read("out/provenance.json")).unwrap();
    let materials = &told["predicate"]["buildDefinition"]["resolvedDependencies"];
    assert_eq!(materials[0]["uri"], web.url("file"));
    assert_eq!(materials.as_array().map(Vec::len), Some(1));
    let digest = cairn_oci::Digest::sha256(b"from the web");
    assert_eq!(materials[0]["digest"]["sha256"], digest.hex());
}

#[test]
fn an_attested_image_is_served_and_loaded_like_any_other() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/Dockerfile", "FROM base\nRUN echo 1 > /one\n");
    let output = "type=oci,tar=false,dest=layout";
    let build = [
        "build",
        "-t",
        "app",
        "--provenance=true",
        "--sbom=true",
        "-o",
        output,
        "./app",
    ];
    workshop.cairn(&build).success();
    let statements = Layout::of(&workshop, "layout").statements(1, 0);
    assert_eq!(
        kinds(&statements),
        [
            "https://spdx.dev/Document",
            "https://slsa.dev/provenance/v1"
        ]
    );
    workshop
        .cairn(&["load", "-t", "again", "oci:layout"])
        .success();
    let ran = workshop.cairn(&["run", "again", "cat", "/one"]).success();
    assert_eq!(ran.out, "1\n");
    // Docker's archive has one manifest, and no place for more.
    workshop
        .cairn(&["export", "--format", "docker", "app", "app.tar"])
        .success();
    workshop
        .cairn(&["load", "-t", "third", "docker-archive:app.tar"])
        .success();
}

#[test]
fn a_registry_names_what_is_attested_of_an_image() {
    let workshop = Workshop::empty();
    workshop.write("app/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    for (name, provenance) in [("lab/app:1", "mode=min"), ("lab/plain:1", "false")] {
        let flag = format!("--provenance={provenance}");
        workshop
            .cairn(&["build", "-t", name, &flag, "./app"])
            .success();
    }
    let serving = Serving::start(&workshop, &[]);
    let index = serving.get("/v2/lab/app/manifests/1").is(200).json();
    let image = index["manifests"][0]["digest"].as_str().expect("a digest");
    let path = format!("/v2/lab/app/referrers/{image}");
    let found = serving.get(&path).is(200).json();
    let found = found["manifests"].as_array().expect("a list").clone();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["digest"], index["manifests"][1]["digest"]);
    let kind = found[0]["artifactType"].as_str().expect("a kind");
    let kind = kind.replace('+', "%2B");
    let filtered = serving.get(&format!("{path}?artifactType={kind}")).is(200);
    assert_eq!(filtered.json()["manifests"][0], found[0]);
    let path = format!("/v2/lab/plain/referrers/{image}");
    let none = serving.get(&path).is(200).json();
    assert_eq!(none["manifests"], serde_json::json!([]));
}
