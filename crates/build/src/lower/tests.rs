//! Lowering, from text to settings and vertices, without a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_diagnostic::Source;
use cairn_oci::{Platform, RunConfig};

use super::{HistoryStep, Lowered, LoweredImage, lower};
use crate::device::Devices;
use crate::filesystem::Filesystem;
use crate::graph::{ContextId, FileSource, Fs, Op};
use crate::request::{Changes, DockerfileRecipe, ImageRequest, Lister, Named, Recipe};
use crate::resolve::{BaseImage, ImageSource, ResolveError};

/// Knows `base` (with the given triggers), nothing else.
struct OneImage(Vec<&'static str>);

impl ImageSource for OneImage {
    fn open(&self, reference: &str, platform: &Platform) -> Result<Arc<BaseImage>, ResolveError> {
        if reference != "base" {
            let reference = reference.to_owned();
            return Err(ResolveError::Unknown {
                reference,
                near: vec!["base".into()],
            });
        }
        Ok(Arc::new(BaseImage {
            digest: None,
            layout_of: None,
            name: "base".into(),
            platform: platform.clone(),
            config: RunConfig {
                env: vec!["PATH=/bin".into(), "FROM_BASE=1".into()],
                cmd: Some(vec!["sh".into()]),
                user: "app".into(),
                on_build: self.0.iter().map(|trigger| (*trigger).to_owned()).collect(),
                ..RunConfig::default()
            },
            author: None,
            history: Vec::new(),
            layers: Vec::new(),
            content: Filesystem::scratch().content,
            promised: Vec::new(),
        }))
    }
}

fn request(name: &str, text: &str) -> ImageRequest {
    let dockerfile = cairn_dockerfile::parse(&Source::new("Dockerfile", text)).unwrap();
    let platform = Platform::new("linux", "amd64");
    ImageRequest {
        name: name.into(),
        called: name.into(),
        recipe: Recipe::Dockerfile(Box::new(DockerfileRecipe {
            lister: Lister::default(),
            dockerfile: Arc::new(dockerfile),
            context: ContextId(0),
            names: BTreeMap::new(),
            target: None,
            args: BTreeMap::new(),
            no_cache: false,
            no_cache_stages: Vec::new(),
            network_none: false,
            build_platform: platform.clone(),
        })),
        platform,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        changes: Changes::default(),
        epoch: 0,
        epoch_is_given: false,
    }
}

fn with(mut request: ImageRequest, change: impl FnOnce(&mut DockerfileRecipe)) -> ImageRequest {
    if let Recipe::Dockerfile(recipe) = &mut request.recipe {
        change(recipe);
    }
    request
}

fn run(requests: &[ImageRequest]) -> Lowered {
    let lowered = lower(requests, &OneImage(vec![]), &Devices::default());
    lowered.unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn image(text: &str) -> LoweredImage {
    run(&[request("i", text)]).images.remove(0)
}

fn error(text: &str) -> String {
    let refused = lower(
        &[request("i", text)],
        &OneImage(vec![]),
        &Devices::default(),
    );
    refused.unwrap_err()[0].to_string()
}

fn history(image: &LoweredImage) -> Vec<String> {
    let own = image.history.iter().filter_map(|step| match step {
        HistoryStep::Own { created_by, .. } => Some(created_by.clone()),
        HistoryStep::Inherited(_) => None,
    });
    own.collect()
}

fn env(image: &LoweredImage, name: &str) -> Option<String> {
    let prefix = format!("{name}=");
    image
        .config
        .env
        .iter()
        .find_map(|entry| entry.strip_prefix(&prefix).map(str::to_owned))
}

#[test]
fn env_uses_the_variables_from_before_the_instruction() {
    let image = image("FROM scratch\nENV a=1\nENV a=2 b=$a\n");
    assert_eq!(env(&image, "b").as_deref(), Some("1"));
}

#[test]
fn an_argument_before_from_is_visible_to_from_only() {
    let image = image("ARG B=base\nFROM $B\nENV seen=\"<$B>\"\nARG B\nENV then=\"<$B>\"\n");
    assert_eq!(env(&image, "seen").as_deref(), Some("<>"));
    assert_eq!(env(&image, "then").as_deref(), Some("<base>"));
}

#[test]
fn a_build_argument_wins_and_an_empty_one_is_set() {
    let text = "FROM scratch\nARG a=x\nARG b=y\nENV got=\"$a-${b:-unset}-${b-unset}\"\n";
    let request = with(request("i", text), |recipe| {
        recipe.args = BTreeMap::from([("a".into(), "given".into()), ("b".into(), String::new())]);
    });
    let image = run(&[request]).images.remove(0);
    assert_eq!(env(&image, "got").as_deref(), Some("given-unset-"));
}

#[test]
fn a_stage_inherits_settings_and_arguments_of_its_base_stage() {
    let image = image("FROM base AS one\nARG a=1\nENV e=2\nWORKDIR /w\nFROM one\nENV got=$a$e\n");
    assert_eq!(env(&image, "got").as_deref(), Some("12"));
    assert_eq!(env(&image, "FROM_BASE").as_deref(), Some("1"));
    assert_eq!(
        (
            image.config.working_dir.as_str(),
            image.config.user.as_str()
        ),
        ("/w", "app")
    );
}

#[test]
fn entrypoint_resets_an_inherited_cmd_and_not_an_own_one() {
    assert_eq!(image("FROM base\nENTRYPOINT [\"x\"]\n").config.cmd, None);
    let own = image("FROM base\nCMD [\"a\"]\nENTRYPOINT [\"x\"]\n");
    assert_eq!(own.config.cmd, Some(vec!["a".to_owned()]));
}

#[test]
fn shell_affects_what_follows() {
    let image = image("FROM scratch\nCMD one\nSHELL [\"/bin/ash\", \"-e\"]\nENTRYPOINT two\n");
    assert_eq!(image.config.cmd.unwrap(), ["/bin/sh", "-c", "one"]);
    assert_eq!(image.config.entrypoint.unwrap(), ["/bin/ash", "-e", "two"]);
}

#[test]
fn path_is_always_there() {
    assert_eq!(
        env(&image("FROM scratch\n"), "PATH").as_deref(),
        Some(super::DEFAULT_PATH)
    );
    assert_eq!(env(&image("FROM base\n"), "PATH").as_deref(), Some("/bin"));
}

#[test]
fn stages_that_nothing_needs_are_not_lowered() {
    let lowered = run(&[request(
        "i",
        "FROM nowhere AS broken\nRUN false\nFROM scratch AS used\nCOPY a /\nFROM scratch\nCOPY --from=used /a /\n",
    )]);
    assert_eq!(lowered.graph.len(), 2);
}

#[test]
fn copy_from_sees_stages_by_name_in_any_case_and_by_number() {
    let lowered = run(&[request(
        "i",
        "FROM scratch AS One\nCOPY a /\nFROM scratch\nCOPY --from=oNE /a /x\nCOPY --from=0 /a /y\n",
    )]);
    let sources: Vec<_> = lowered
        .graph
        .iter()
        .filter_map(|(_, vertex)| match &vertex.op {
            Op::Copy(copy) => Some(copy.from),
            _ => None,
        })
        .collect();
    assert_eq!(sources[1], sources[2]);
    assert!(matches!(sources[1], FileSource::Fs(Fs::Of(_))));
}

#[test]
fn variants_share_what_comes_before_their_difference() {
    let text = "FROM scratch\nCOPY a /\nRUN one\nARG V\nRUN two $V\n";
    let variant = |name: &str| {
        with(request(name, text), |recipe| {
            recipe.args = BTreeMap::from([("V".into(), name.into())]);
        })
    };
    let lowered = run(&[variant("local"), variant("cloud")]);
    assert_eq!(lowered.graph.len(), 4, "COPY, RUN one, and RUN two twice");
    assert_ne!(lowered.images[0].fs, lowered.images[1].fs);
}

#[test]
fn a_sibling_is_an_edge_and_hands_on_its_settings() {
    let parent = request("parent", "FROM scratch\nENV p=1\nARG hidden=x\nCOPY a /\n");
    let child = with(
        request("child", "FROM parent\nRUN true\nENV got=\"$p$hidden\"\n"),
        |recipe| {
            recipe.names = BTreeMap::from([("parent".into(), Named::Sibling("parent".into()))]);
        },
    );
    let lowered = run(&[parent, child]);
    assert_eq!(
        env(&lowered.images[1], "got").as_deref(),
        Some("1"),
        "no arguments of the other"
    );
    let run = lowered.images[1].fs.vertex().unwrap();
    assert_eq!(lowered.graph.vertex(run).base, lowered.images[0].fs);
}

#[test]
fn triggers_run_once_at_from() {
    let text = "FROM base\nENV after=\"$t\"\n";
    let image = lower(
        &[request("i", text)],
        &OneImage(vec!["ENV t=1", "RUN prepare"]),
        &Devices::default(),
    )
    .unwrap();
    let image = &image.images[0];
    assert_eq!(env(image, "after").as_deref(), Some("1"));
    assert!(image.config.on_build.is_empty(), "cleared");
    assert!(history(image).iter().any(|entry| entry.contains("prepare")));
}

#[test]
fn own_triggers_wait_for_the_next_stage() {
    let image = image("FROM base AS one\nONBUILD ENV t=1\nFROM one\nENV got=\"<$t>\"\n");
    assert_eq!(env(&image, "got").as_deref(), Some("<1>"));
    assert!(image.config.on_build.is_empty());
}

#[test]
fn histories_look_as_tools_expect() {
    let image = image(
        "FROM scratch\nARG a=1\nRUN echo hi\nENV k=v\nWORKDIR x\nEXPOSE 80\nCMD [\"a\", \"b\"]\nVOLUME /v\n",
    );
    assert_eq!(
        history(&image),
        [
            "ARG a=1",
            "RUN |1 a=1 /bin/sh -c echo hi # buildkit",
            "ENV k=v",
            "WORKDIR /x",
            "EXPOSE [80/tcp]",
            "CMD [\"a\" \"b\"]",
            "VOLUME [/v]",
        ]
    );
}

#[test]
fn errors_point_at_their_cause() {
    assert_eq!(
        error("FROM scratch\nCOPY --from=nope /a /\n"),
        "Dockerfile:2:13: image `nope` is not in the store"
    );
    assert!(error("FROM scratch\nCOPY --from=7 /a /\n").contains("invalid stage index 7"));
    assert!(error("FROM scratch AS a\nCOPY --from=b / /\nFROM a AS b\n").contains("cannot copy"));
    assert!(error("FROM ${NOTHING}\n").contains("should not be blank"));
    assert!(error("FROM scratch\nCOPY a b c\n").contains("end with a /"));
}

#[test]
fn a_context_of_a_stages_name_stands_for_the_stage() {
    let text = "FROM nowhere AS base\nRUN no\nFROM base AS child\nRUN yes\nFROM scratch\nCOPY --from=base /a /\n";
    let files = |recipe: &mut DockerfileRecipe| {
        let base = Named::Files(ContextId(1));
        recipe.names = BTreeMap::from([("base".to_owned(), base)]);
    };
    let lowered = run(&[with(request("i", text), files)]);
    let copies: Vec<_> = lowered.graph.iter().map(|(_, vertex)| &vertex.op).collect();
    let [Op::Copy(copy)] = copies[..] else {
        panic!("{copies:?}");
    };
    assert_eq!(copy.from, FileSource::Context(ContextId(1)));

    let child = with(request("i", text), |recipe| {
        files(recipe);
        recipe.target = Some("child".to_owned());
    });
    let lowered = run(&[child]);
    let steps: Vec<_> = lowered
        .graph
        .iter()
        .map(|(_, v)| v.origin.title.as_str())
        .collect();
    assert_eq!(steps, ["FROM nowhere AS base", "RUN yes"]);
}

#[test]
fn windows_has_its_own_shell_and_no_path() {
    let mut windows = request("i", "FROM scratch\nENTRYPOINT a b\n");
    windows.platform = Platform::new("windows", "amd64");
    let image = run(&[windows]).images.remove(0);
    assert_eq!(image.config.entrypoint.unwrap(), ["cmd", "/S", "/C", "a b"]);
    assert_eq!(image.config.env, [""; 0]);
    assert_eq!(image.config.working_dir, "/");
}

#[test]
fn windows_has_its_own_paths() {
    let text = "# escape=`\nFROM scratch\nWORKDIR C:\\a\nWORKDIR b\nCOPY f c\\\nCOPY f D:\\x\n";
    let made = |text: &str| {
        let mut windows = request("i", text);
        windows.platform = Platform::new("windows", "amd64");
        lower(&[windows], &OneImage(vec![]), &Devices::default())
    };
    let Ok(image) = made(text.rsplit_once("COPY").unwrap().0) else {
        panic!("paths on the drive that there is");
    };
    let dests: Vec<&str> = image
        .graph
        .iter()
        .filter_map(|(_, vertex)| match &vertex.op {
            Op::Copy(copy) => Some(copy.dest.as_str()),
            Op::MakeDir(made) => Some(made.path.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(dests, ["/a", "/a/b", "/a/b/c/"]);
    assert_eq!(image.images[0].config.working_dir, "\\a\\b");
    let Err(refused) = made(text) else {
        panic!("a path on another drive");
    };
    assert!(refused[0].message.contains("system drive"), "{refused:?}");
}

#[test]
fn an_absolute_workdir_is_told_as_it_was_written() {
    let written = image("FROM scratch\nWORKDIR /a/\n");
    assert_eq!(written.config.working_dir, "/a/");
    assert_eq!(history(&written), ["WORKDIR /a/"]);
    let joined = image("FROM scratch\nWORKDIR /a/\nWORKDIR b/../c/\n");
    assert_eq!(joined.config.working_dir, "/a/c");
}

#[test]
fn the_cache_is_passed_over_by_stages() {
    let text = "FROM base AS a\nRUN 1\nFROM base\nRUN 2\nFROM base AS c\n\
        COPY --from=a / /\nCOPY --from=1 / /\nRUN 3\n";
    let forced = |stages: &[&str]| {
        let stages = stages.iter().map(|stage| (*stage).to_owned()).collect();
        let request = with(request("i", text), |recipe| recipe.no_cache_stages = stages);
        let lowered = run(&[request]);
        let of = |op: &Op| match op {
            Op::Exec(exec) if exec.ignore_cache => exec.argv.last().cloned(),
            _ => None,
        };
        lowered
            .graph
            .iter()
            .filter_map(|(_, vertex)| of(&vertex.op))
            .collect::<Vec<_>>()
    };
    assert_eq!(forced(&[]), [""; 0]);
    assert_eq!(forced(&["A"]), ["1"]);
    assert_eq!(forced(&["c", "a", "other", "1"]), ["1", "3"]);
}

/// What stands before a step is no part of what the step is.
#[test]
fn an_agents_socket_is_numbered_within_its_step() {
    let targets = |text: &str| {
        let lowered = run(&[request("i", text)]);
        let of = |op: &Op| match op {
            Op::Exec(exec) => exec
                .mounts
                .iter()
                .map(|mount| mount.target.clone())
                .collect(),
            _ => Vec::new(),
        };
        lowered
            .graph
            .iter()
            .flat_map(|(_, vertex)| of(&vertex.op))
            .collect::<Vec<_>>()
    };
    let step = "RUN --mount=type=ssh --mount=type=ssh,id=b true\n";
    let plain = targets(&format!("FROM base\n{step}"));
    assert_eq!(
        plain,
        ["/run/buildkit/ssh_agent.0", "/run/buildkit/ssh_agent.1"]
    );
    assert_eq!(targets(&format!("# a remark\nFROM base\n\n{step}")), plain);
}

#[test]
fn a_step_does_without_a_device_that_it_does_not_require() {
    let lowered = run(&[request(
        "i",
        "FROM base\nRUN --device=vendor.com/gpu=all true\n",
    )]);
    assert_eq!(lowered.graph.len(), 1);
    let refused = error("FROM base\nRUN --device=vendor.com/gpu=all,required true\n");
    assert!(refused.contains("required device \"vendor.com/gpu=all\" is not registered"));
}

#[test]
fn what_the_command_line_changes_is_seen_by_stages_and_left_by_the_image() {
    let text = "FROM base AS one\nRUN true\nENV E=own\nLABEL a=1 b=2\nFROM one\nRUN true\n";
    let mut request = request("i", text);
    request.changes = Changes {
        env: vec![("E".into(), "given".into()), ("G".into(), "given".into())],
        unset_env: vec!["PATH".into(), "NOT".into()],
        unset_labels: vec!["a".into()],
        ..Changes::default()
    };
    request.labels.insert("a".into(), "flag".into());
    let lowered = run(&[request]);
    let seen = lowered
        .graph
        .iter()
        .filter_map(|(_, vertex)| match &vertex.op {
            Op::Exec(exec) => exec.env.iter().find(|(name, _)| name == "E").cloned(),
            _ => None,
        });
    let seen: Vec<_> = seen.map(|(_, value)| value).collect();
    // A stage on a stage keeps what that one set.
    assert_eq!(seen, ["given", "own"]);
    let image = &lowered.images[0];
    assert_eq!(env(image, "E").as_deref(), Some("own"));
    assert_eq!(env(image, "G").as_deref(), Some("given"));
    assert_eq!(env(image, "PATH"), None);
    // A label of the command line is meant.
    let labels: Vec<_> = image.config.labels.iter().collect();
    assert_eq!(labels.len(), 2, "{labels:?}");
    assert_eq!(image.config.labels["a"], "flag");
}

#[test]
fn stages_may_stand_on_each_other_as_long_as_the_file_is() {
    let mut text = "FROM base AS a0\nENV A=b\n".to_owned();
    for at in 1..20_000 {
        text.push_str(&format!("FROM a{} AS a{at}\n", at - 1));
    }
    text.push_str("LABEL a=$A\n");
    assert_eq!(image(&text).config.labels["a"], "b");
}

#[test]
fn the_first_mistake_from_above_is_told_whichever_stage_has_it() {
    let text = "FROM nowhere AS a\nFROM --platform=x/y/z/w a AS b\nFROM b\n";
    assert!(error(text).contains("platform"), "{}", error(text));
}
