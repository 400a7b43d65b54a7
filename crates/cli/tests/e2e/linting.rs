//! `cairn lint`, and what a build says of its Dockerfile.

use crate::workshop::Workshop;

const BAD: &str = "FROM scratch as stage\nWORKDIR app\nCMD run $x\n";

#[test]
fn findings_are_data_and_their_sum_is_told() {
    let shop = Workshop::empty();
    shop.write("Dockerfile", BAD);
    let said = shop.cairn(&["lint"]).success();
    assert!(said.out.contains("warning [FromAsCasing]"), "{}", said.out);
    assert!(said.out.contains("   2 | >>> WORKDIR app"), "{}", said.out);
    let said = said.err_has("3 warnings in 1 file");
    assert!(!said.out.contains("3 warnings"));
    shop.cairn(&["lint", "--strict"]).code(1);
    shop.cairn(&["lint", "--rule", "FromAsCasing=error", "Dockerfile"])
        .code(1)
        .err_has("1 error, 2 warnings");
    shop.cairn(&["lint", "--rule", "FromAsCasin=error"])
        .code(2)
        .err_has("did you mean `FromAsCasing`?");
}

#[test]
fn json_is_a_list_with_rule_line_and_detail() {
    let shop = Workshop::empty();
    shop.write("Dockerfile", BAD);
    let said = shop.cairn(&["lint", "--json", "Dockerfile"]).success();
    let list: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let found: Vec<_> = list
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["rule"].as_str().unwrap(), one["line"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("FromAsCasing", 1),
            ("WorkdirRelativePath", 2),
            ("JSONArgsRecommended", 3)
        ]
    );
    assert!(
        list[1]["detail"]
            .as_str()
            .unwrap()
            .starts_with("Relative workdir")
    );
}

#[test]
fn sarif_points_at_known_rules() {
    let shop = Workshop::empty();
    shop.write("a b/Dockerfile", BAD);
    let said = shop
        .cairn(&["lint", "--format", "sarif", "a b/Dockerfile"])
        .success();
    let log: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    for result in results {
        assert!(
            rules.iter().any(|rule| rule["id"] == result["ruleId"]),
            "{result}"
        );
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b/Dockerfile");
    }
}

#[test]
fn a_file_that_is_no_dockerfile_is_an_error_in_every_form() {
    let shop = Workshop::empty();
    shop.write("Dockerfile", "FORM x\n");
    shop.cairn(&["lint"])
        .code(2)
        .err_has("did you mean FROM?")
        .err_lacks("no findings");
    let said = shop.cairn(&["lint", "--format", "github"]).code(2);
    assert!(
        said.out.starts_with("::error file=Dockerfile,line=1,"),
        "{}",
        said.out
    );
    shop.cairn(&["lint", "nothing"])
        .code(2)
        .err_has("cannot read nothing");
    Workshop::empty()
        .cairn(&["lint"])
        .code(2)
        .err_has("nothing to check");
}

#[test]
fn the_ignore_file_and_the_target_count() {
    let shop = Workshop::empty();
    shop.write(
        "x/Dockerfile",
        "FROM scratch AS a\nCOPY notes /\nFROM scratch\nCMD b\n",
    );
    shop.write("x/.dockerignore", "notes\n");
    let said = shop.cairn(&["lint", "x/Dockerfile"]).success();
    assert!(said.out.contains("CopyIgnoredFile") && said.out.contains("JSONArgs"));
    let said = shop
        .cairn(&["lint", "--target", "a", "x/Dockerfile"])
        .success();
    assert!(said.out.contains("CopyIgnoredFile") && !said.out.contains("JSONArgs"));
    shop.cairn(&["lint", "--target", "c", "x/Dockerfile"])
        .code(2)
        .err_has("target stage \"c\" could not be found");
}

#[test]
fn a_stack_is_checked_whole() {
    let shop = Workshop::empty();
    shop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[image.one]\ncontext = \"one\"\n[image.two]\ncontext = \"two\"\n",
    );
    shop.write("one/Dockerfile", "FROM scratch\nCMD a\n");
    shop.write("two/Dockerfile", "FROM one\nCMD b\n");
    shop.cairn(&["lint"])
        .success()
        .err_has("2 warnings in 2 files");
    shop.cairn(&["lint", "--stack", "nowhere"]).code(2);
}

#[test]
fn what_is_mechanical_is_mended() {
    let shop = Workshop::empty();
    let bad = "FROM debian:13\nRUN pip install numpy==2.3.1\ncmd [\"x\"]\n";
    let good = "FROM debian:13\nRUN pip install --no-cache-dir numpy==2.3.1\nCMD [\"x\"]\n";
    shop.write("Dockerfile", bad);
    let said = shop.cairn(&["lint", "--fix", "--dry-run"]).success();
    assert!(
        said.out.contains("+RUN pip install --no-cache-dir numpy"),
        "{}",
        said.out
    );
    assert_eq!(shop.read("Dockerfile"), bad);
    let said = shop.cairn(&["lint", "--fix"]).success();
    assert!(
        said.out.starts_with("--- Dockerfile\n+++ Dockerfile\n@@ "),
        "{}",
        said.out
    );
    assert_eq!(shop.read("Dockerfile"), good);
    let said = shop.cairn(&["lint", "--fix", "--strict"]).success();
    assert_eq!(said.out, "");
    said.err_has("nothing here can be mended")
        .err_has("no findings in 1 file");
    shop.cairn(&["lint", "--fix", "--json"]).code(2);
}

#[test]
fn rules_of_our_own_look_into_scripts_and_files() {
    let shop = Workshop::empty();
    shop.write(
        "Dockerfile",
        "FROM nvidia/cuda:13.0.0-base-ubuntu24.04\nCOPY requirements.txt /\n\
         RUN set -e; \\\n    # the tools\n    pip install --no-cache-dir -r /requirements.txt || true\n",
    );
    shop.write("requirements.txt", "numpy\ntorch==2.7.0+cu126\n");
    let said = shop.cairn(&["lint", "--json", "Dockerfile"]).success();
    let list: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let found = |at: usize| (list[at]["rule"].as_str(), list[at]["line"].as_u64());
    assert_eq!(found(0), (Some("CudaMismatch"), Some(2)), "{list}");
    assert_eq!(found(1), (Some("HiddenFailure"), Some(5)), "{list}");
    assert!(list.get(2).is_none(), "{list}");
}

#[test]
fn siblings_have_no_tag_and_need_none() {
    let shop = Workshop::empty();
    let spec =
        "[stack]\nname = \"s\"\n[image.one]\ncontext = \"one\"\n[image.two]\ncontext = \"two\"\n";
    shop.write("cairn.toml", spec);
    shop.write("one/Dockerfile", "FROM python\n");
    shop.write("two/Dockerfile", "FROM one\n");
    let said = shop.cairn(&["lint"]).success();
    assert!(said.out.contains("python has no tag") && !said.out.contains("one has no tag"));
    let said = shop.cairn(&["lint", "two/Dockerfile"]).success();
    assert_eq!(said.out, "");
    shop.write(
        "cairn.toml",
        &format!("{spec}[lint]\nFloatingBase = \"error\"\n"),
    );
    shop.cairn(&["lint"]).code(1).err_has("1 error in 2 files");
    shop.cairn(&["lint", "one/Dockerfile"]).code(1);
    shop.cairn(&["lint", "--rule", "FloatingBase=off"])
        .success();
}

#[test]
fn pages_are_printed() {
    let shop = Workshop::empty();
    let said = shop.cairn(&["lint", "--explain", "undefinedvar"]).success();
    assert!(
        said.out.starts_with("UndefinedVar  warning\n"),
        "{}",
        said.out
    );
    let said = shop.cairn(&["lint", "--explain"]).success();
    assert!(said.out.contains("JSONArgsRecommended"));
}

#[test]
fn a_build_tells_what_buildkit_would_warn_of() {
    let Some(shop) = Workshop::with_base() else {
        return;
    };
    shop.write("app/Dockerfile", "FROM base as app\nENV X=$PAHT\n");
    shop.cairn(&["build", "-t", "app", "./app"])
        .success()
        .err_has("warning: FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)")
        .err_has("UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?)");
    shop.cairn(&["build", "-q", "-t", "app", "./app"])
        .success()
        .err_lacks("FromAsCasing");
    let args = [
        "build",
        "--build-arg",
        "BUILDKIT_DOCKERFILE_CHECK=skip=all",
        "./app",
    ];
    shop.cairn(&args).success().err_lacks("FromAsCasing");

    // What cannot be built is told of as well, as far as it is understood.
    for (text, error) in [
        ("FROM base as app\nRAN true\n", "unknown instruction"),
        ("FROM base as app\nCOPY --from=b$x /a /\n", "b"),
    ] {
        shop.write("app/Dockerfile", text);
        let said = shop.cairn(&["build", "./app"]);
        said.code(2)
            .err_has("warning: FromAsCasing: 'as' and 'FROM' keywords' casing do not match")
            .err_has(error);
        let said = shop.cairn(&["build", "-q", "./app"]);
        said.code(2).err_lacks("FromAsCasing");
    }
}

#[test]
fn a_file_can_make_warnings_errors() {
    let Some(shop) = Workshop::with_base() else {
        return;
    };
    let text = "# check=error=true\nFROM base as app\nRUN echo it-\"\"ran\n";
    shop.write("app/Dockerfile", text);
    shop.cairn(&["build", "./app"])
        .code(2)
        .err_has("lint violation found for rules: FromAsCasing")
        .err_lacks("it-ran");
    shop.cairn(&["lint", "app/Dockerfile"]).code(1);
}

#[test]
fn a_build_can_only_check() {
    let shop = Workshop::empty();
    shop.write("app/Dockerfile", "FROM no-such-image as app\nRUN false\n");
    let said = shop.cairn(&["build", "--check", "./app"]).code(1);
    assert!(said.out.contains("FromAsCasing"), "{}", said.out);
    shop.write("app/Dockerfile", "FROM no-such-image\nRUN false\n");
    shop.cairn(&["build", "--check", "./app"])
        .success()
        .err_has("no findings in 1 file");
}

#[test]
fn a_dockerfile_is_asked_without_being_built() {
    let shop = Workshop::empty();
    let text = "# V is the version\nARG V=1\nFROM x:${V} AS end\nRUN --mount=type=secret,id=k a\n";
    shop.write("app/Dockerfile", text);
    let ask = |call: &str| shop.cairn(&["build", "--call", call, "--build-arg=V=2", "./app"]);
    let json = |call: &str| -> serde_json::Value {
        serde_json::from_str(&ask(&format!("{call},format=json")).out).unwrap()
    };
    let outline = json("outline");
    assert_eq!(outline["args"][0]["value"], "2");
    assert_eq!(outline["args"][0]["description"], "is the version");
    assert_eq!(outline["secrets"][0]["name"], "k");
    ask("outline")
        .success()
        .out_has("BUILD ARG   VALUE   DESCRIPTION\nV           2       is the version\n");
    assert_eq!(json("targets")["targets"][0]["name"], "end");
    assert_eq!(json("subrequests.describe")[0]["name"], "frontend.outline");
    shop.cairn(&["build", "--call=outline", "--target=ent", "./app"])
        .code(2)
        .err_has("did you mean end?");

    shop.write("app/Dockerfile", "FROM x AS Bad\nMAINTAINER me\nBADCMD\n");
    let found = json("check");
    let rules: Vec<_> = found["warnings"].as_array().unwrap().iter().collect();
    assert_eq!(rules[0]["ruleName"], "StageNameCasing");
    assert_eq!(rules[1]["location"]["ranges"][0]["start"]["line"], 2);
    assert_eq!(
        found["buildError"]["message"],
        "dockerfile parse error on line 3: unknown instruction: BADCMD"
    );
    assert_eq!(found["sources"][0]["filename"], "Dockerfile");
    let said = shop.cairn(&["lint", "--json", "app/Dockerfile"]).code(2);
    assert!(said.out.contains("MaintainerDeprecated"), "{}", said.out);
}
