//! Tests of whole Dockerfiles: what each instruction means, and what is refused with which place.

use std::time::Duration;

use super::*;
use crate::ast::{
    CommandLine, CopySource, Healthcheck, RunNetwork, RunScript, RunSecurity, Spanned, Word,
};

fn file(text: &str) -> Dockerfile {
    parse(&Source::new("Dockerfile", text)).unwrap_or_else(|errors| panic!("{text:?}: {errors:#?}"))
}

/// The only instruction after a `FROM`.
fn kind(instruction: &str) -> InstructionKind {
    let mut file = file(&format!("FROM x\n{instruction}\n"));
    let mut instructions = file.stages.remove(0).instructions;
    assert_eq!(instructions.len(), 1, "{instruction}");
    instructions.remove(0).kind
}

fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().map(Word::as_str).collect()
}

fn option(word: &Option<Word>) -> Option<&str> {
    word.as_ref().map(Word::as_str)
}

/// Checks the first error: the marked text and the message.
#[track_caller]
fn check_error(text: &str, marked: &str, message: &str) {
    let source = Source::new("Dockerfile", text);
    let errors = parse(&source).expect_err(text);
    let span = errors[0].label.as_ref().unwrap().span;
    assert_eq!(bare(&errors[0]), message, "{text}");
    assert_eq!(&source.text[span.start..span.end], marked, "{text}");
}

/// A message without BuildKit's words about the line.
fn bare(error: &Diagnostic) -> &str {
    let line = error.position().map_or(0, |place| place.line);
    let words = format!("dockerfile parse error on line {line}: ");
    let message = error.message.as_str();
    message.strip_prefix(&words).unwrap_or(message)
}

/// The same for an instruction behind a `FROM`.
#[track_caller]
fn check_refused(instruction: &str, marked: &str, message: &str) {
    check_error(&format!("FROM x\n{instruction}\n"), marked, message);
}

#[test]
fn stages_and_global_args() {
    let file = file(
        "ARG base=debian:12\nARG tag\nFROM --platform=$BUILDPLATFORM ${base} AS Build\nRUN a\n\
         FROM build as final\nFROM 0\n",
    );
    let args: Vec<_> = file
        .global_args
        .iter()
        .flat_map(|line| &line.kind.declarations)
        .map(|arg| (arg.name.as_str(), option(&arg.default)))
        .collect();
    assert_eq!(args, [("base", Some("debian:12")), ("tag", None)]);
    let stages: Vec<_> = file
        .stages
        .iter()
        .map(|stage| (stage.index, stage.name(), stage.from.kind.image.as_str()))
        .collect();
    assert_eq!(
        stages,
        [
            (0, Some("build"), "${base}"),
            (1, Some("final"), "build"),
            (2, None, "0")
        ]
    );
    let from = &file.stages[0].from.kind;
    assert_eq!(option(&from.platform), Some("$BUILDPLATFORM"));
    assert_eq!(option(&from.written_name), Some("Build"));
    assert_eq!(file.stage("BUILD").map(|stage| stage.index), Some(0));
    assert_eq!(file.stage("2").map(|stage| stage.index), Some(2));
    assert_eq!(file.stage("3"), None);
    let keywords: Vec<_> = file.keywords().map(Word::as_str).collect();
    assert_eq!(keywords, ["ARG", "ARG", "FROM", "RUN", "FROM", "FROM"]);
}

#[test]
fn run_forms_and_flags() {
    let InstructionKind::Run(run) = kind(
        "RUN --network=none --security=insecure --mount=type=cache,target=/c \
         --mount=from=build,target=/b --device=gpu,required make all",
    ) else {
        panic!("no RUN");
    };
    assert_eq!(run.script(), RunScript::Shell("make all".into()));
    assert_eq!(run.network.map(|mode| mode.value), Some(RunNetwork::None));
    assert_eq!(
        run.security.map(|mode| mode.value),
        Some(RunSecurity::Insecure)
    );
    let from: Vec<_> = run.mounts.iter().map(|flag| flag.from.as_deref()).collect();
    assert_eq!(from, [None, Some("build")]);
    assert!(run.devices[0].value.required);

    let InstructionKind::Run(run) = kind("RUN [\"a\", \"b c\"]") else {
        panic!("no RUN");
    };
    assert_eq!(
        run.script(),
        RunScript::Exec(vec!["a".into(), "b c".into()])
    );
}

#[test]
fn run_heredocs() {
    let script = |text| match kind(text) {
        InstructionKind::Run(run) => run.script(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        script("RUN <<EOF\na\n # no comment\n\nEOF"),
        RunScript::Shell("a\n # no comment\n\n".into())
    );
    assert_eq!(
        script("RUN <<-EOF\n\t\ta\n\tEOF"),
        RunScript::Shell("a\n".into())
    );
    assert_eq!(
        script("RUN cat <<A <<-B | sh\n1\nA\n\t2\nB"),
        RunScript::Shell("cat <<A <<-B | sh\n1\nA\n\t2\nB".into())
    );
    assert_eq!(
        script("RUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF"),
        RunScript::File {
            name: "EOF".into(),
            content: "#!/usr/bin/env python3\nprint(1)\n".into()
        }
    );
}

#[test]
fn copy_and_add() {
    let InstructionKind::Copy(copy) = kind(
        "COPY --from=build --chown=1:2 --chmod=go-w --link --parents --exclude=*.o --exclude=a b \
         \"c\" /d/",
    ) else {
        panic!("no COPY");
    };
    assert_eq!(option(&copy.from), Some("build"));
    assert_eq!(option(&copy.files.chown), Some("1:2"));
    assert_eq!(option(&copy.files.chmod), Some("go-w"));
    assert!(copy.files.link && copy.parents);
    assert_eq!(texts(&copy.files.excludes), ["*.o", "a"]);
    assert_eq!(copy.files.dest.as_str(), "/d/");
    let sources: Vec<_> = copy
        .files
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(word) => word.as_str(),
            CopySource::Heredoc(_) => panic!("a heredoc"),
        })
        .collect();
    assert_eq!(sources, ["b", "\"c\""], "quotes stay until expansion");

    let InstructionKind::Add(add) =
        kind("ADD --checksum=sha256:0 --keep-git-dir=false --unpack https://x/y.tar /z")
    else {
        panic!("no ADD");
    };
    assert_eq!(option(&add.checksum), Some("sha256:0"));
    assert_eq!((add.keep_git_dir, add.unpack), (Some(false), Some(true)));
}

#[test]
fn copy_heredocs() {
    let InstructionKind::Copy(copy) = kind("COPY <<one <<-'two' plain /d/\n$x\none\n\t$y\ntwo")
    else {
        panic!("no COPY");
    };
    let sources: Vec<_> = copy
        .files
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(word) => (word.value.clone(), String::new(), false),
            CopySource::Heredoc(heredoc) => (heredoc.name.clone(), heredoc.text(), heredoc.expand),
        })
        .collect();
    assert_eq!(
        sources,
        [
            ("one".into(), "$x\n".into(), true),
            ("two".into(), "$y\n".into(), false),
            ("plain".into(), String::new(), false),
        ]
    );
}

#[test]
fn pairs_new_and_old() {
    let InstructionKind::Env(pairs) = kind("ENV a=1 b=\"x y\" c=$a") else {
        panic!("no ENV");
    };
    let pairs: Vec<_> = pairs
        .iter()
        .map(|pair| (pair.key.as_str(), pair.value.as_str()))
        .collect();
    assert_eq!(pairs, [("a", "1"), ("b", "\"x y\""), ("c", "$a")]);
    let InstructionKind::Label(pairs) = kind("LABEL key  the rest = of it") else {
        panic!("no LABEL");
    };
    assert_eq!(pairs[0].value.as_str(), "the rest = of it");
    assert!(pairs[0].legacy);
}

#[test]
fn args_take_descriptions_from_comments() {
    let InstructionKind::Arg(arg) = kind("# foo what it is\nARG foo=\"a b\" bar") else {
        panic!("no ARG");
    };
    let [foo, bar] = arg.declarations.as_slice() else {
        panic!("{arg:?}");
    };
    assert_eq!(option(&foo.default), Some("\"a b\""));
    assert_eq!(foo.description.as_deref(), Some("what it is"));
    assert_eq!((option(&bar.default), &bar.description), (None, &None));
}

#[test]
fn commands_in_both_forms() {
    assert!(
        matches!(kind("CMD a b"), InstructionKind::Cmd(CommandLine::Shell(text)) if text.value == "a b")
    );
    assert!(
        matches!(kind("CMD []"), InstructionKind::Cmd(CommandLine::Exec(words)) if words.is_empty())
    );
    assert!(matches!(kind("CMD"), InstructionKind::Cmd(command) if command.arguments().is_empty()));
    assert!(
        matches!(
            kind("ENTRYPOINT ['a']"),
            InstructionKind::Entrypoint(CommandLine::Shell(_))
        ),
        "single quotes are no JSON"
    );
    assert!(
        matches!(kind("SHELL [\"sh\", \"-c\"]"), InstructionKind::Shell(words) if words.len() == 2)
    );
}

#[test]
fn healthchecks() {
    assert_eq!(
        kind("HEALTHCHECK NONE"),
        InstructionKind::Healthcheck(Healthcheck::None)
    );
    let InstructionKind::Healthcheck(Healthcheck::Command { command, timing }) =
        kind("HEALTHCHECK --interval=1m30s --retries=3 --timeout=0s cmd curl -f x")
    else {
        panic!("no check");
    };
    assert_eq!(command.arguments(), ["curl -f x"]);
    assert_eq!(timing.interval, Some(Duration::from_secs(90)));
    assert_eq!(timing.timeout, Some(Duration::ZERO));
    assert_eq!((timing.retries, timing.start_period), (Some(3), None));
}

#[test]
fn simple_words() {
    assert!(matches!(kind("USER app:$g"), InstructionKind::User(word) if word.value == "app:$g"));
    assert!(
        matches!(kind("WORKDIR /a b/"), InstructionKind::Workdir(word) if word.value == "/a b/")
    );
    assert!(matches!(
        kind("STOPSIGNAL TERM"),
        InstructionKind::StopSignal(_)
    ));
    assert!(matches!(
        kind("MAINTAINER a b"),
        InstructionKind::Maintainer(_)
    ));
    assert!(
        matches!(kind("EXPOSE 9 80 443/udp"), InstructionKind::Expose(words) if texts(&words) == ["443/udp", "80", "9"])
    );
    assert!(
        matches!(kind("VOLUME [\"/a b\", \"/c\"]"), InstructionKind::Volume(words) if texts(&words) == ["/a b", "/c"])
    );
    assert!(matches!(kind("volume /a /b"), InstructionKind::Volume(words) if words.len() == 2));
}

#[test]
fn on_build_holds_text_and_instruction() {
    let InstructionKind::OnBuild(on_build) = kind("onbuild  RUN <<EOF\necho 1\nEOF") else {
        panic!("no ONBUILD");
    };
    assert_eq!(on_build.trigger, "RUN <<EOF\necho 1\nEOF");
    let again = parse_trigger(&Source::new("ONBUILD", on_build.trigger.as_str())).unwrap();
    let script = |instruction: &Instruction| match &instruction.kind {
        InstructionKind::Run(run) => run.script(),
        other => panic!("{other:?}"),
    };
    assert_eq!(script(&again), RunScript::Shell("echo 1\n".into()));
    assert_eq!(script(&on_build.instruction), script(&again));
}

#[test]
fn triggers_are_single_steps() {
    let error = |text: &str| {
        parse_trigger(&Source::new("t", text)).unwrap_err()[0]
            .message
            .clone()
    };
    assert_eq!(error("FROM x"), "FROM isn't allowed as an ONBUILD trigger");
    assert_eq!(
        error("onbuild RUN a"),
        "ONBUILD isn't allowed as an ONBUILD trigger"
    );
    assert_eq!(
        error("RUN a\nRUN b"),
        "onbuild trigger should be a single expression"
    );
}

#[test]
fn directives_comments_and_continuations() {
    let file = file(
        "# syntax=docker/dockerfile:1\n# escape=`\n# about x\nFROM x\n# gone\n\nRUN a `\n  # c\n\n  b\n",
    );
    assert_eq!(file.directives.escape, '`');
    assert_eq!(option(&file.directives.syntax), Some("docker/dockerfile:1"));
    assert_eq!(texts(&file.stages[0].from.comments), ["about x"]);
    let run = &file.stages[0].instructions[0];
    assert_eq!(run.text, "RUN a   b");
    assert_eq!(file.source.position(run.span.start).line, 7);
    assert_eq!(file.source.position(run.span.end).line, 10);
    assert_eq!(run.comments, [], "a blank line is between");
    let [last] = file.blank_continuations[..] else {
        panic!("{:?}", file.blank_continuations);
    };
    assert_eq!(file.source.position(last.start).line, 10);
}

#[test]
fn places_of_words() {
    let text = "FROM --platform=linux/arm64 x AS y\nENV k=v \\\n  l=\"w x\"\nARG a=b\n";
    let file = file(text);
    let at = |span: Span| &text[span.start..span.end];
    let from = &file.stages[0].from.kind;
    assert_eq!(at(from.platform.as_ref().unwrap().span), "linux/arm64");
    assert_eq!(at(from.name.as_ref().unwrap().span), "y");
    let InstructionKind::Env(pairs) = &file.stages[0].instructions[0].kind else {
        panic!("no ENV");
    };
    assert_eq!(
        (at(pairs[1].key.span), at(pairs[1].value.span)),
        ("l", "\"w x\"")
    );
    let InstructionKind::Arg(arg) = &file.stages[0].instructions[1].kind else {
        panic!("no ARG");
    };
    assert_eq!(at(arg.declarations[0].default.as_ref().unwrap().span), "b");
}

#[test]
fn refuses_unknown_words_with_suggestions() {
    check_refused(
        "FORM y",
        "FORM",
        "unknown instruction: FORM (did you mean FROM?)",
    );
    check_refused(
        "COPY --frm=a b c",
        "--frm=a",
        "unknown flag: --frm (did you mean from?)",
    );
    let errors = parse(&Source::new("f", "FROM x\nCOPPY a b\nRUN --mont=x y\n")).unwrap_err();
    let messages: Vec<_> = errors.iter().map(bare).collect();
    assert_eq!(
        messages,
        [
            "unknown instruction: COPPY (did you mean COPY?)",
            "unknown flag: --mont (did you mean mount?)"
        ],
        "all errors at once"
    );
}

#[test]
fn refuses_bad_flags() {
    check_refused(
        "COPY --link=maybe a b",
        "--link=maybe",
        "expecting boolean value for flag --link, not: maybe",
    );
    check_refused(
        "COPY --chown a b",
        "--chown",
        "missing a value on flag: --chown",
    );
    check_refused(
        "COPY --from=a --from=b c d",
        "--from=b",
        "duplicate flag specified: --from",
    );
    check_refused(
        "RUN --network=no a",
        "no",
        "unsupported network mode: \"no\"",
    );
    check_refused("RUN --security=no a", "no", "security \"no\" is not valid");
    check_refused("USER --x a", "--x", "unknown flag: --x");
}

#[test]
fn refuses_wrong_arguments() {
    check_refused(
        "COPY a",
        "COPY a",
        "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
    );
    check_refused(
        "COPY a <<EOF\nEOF",
        "<<EOF",
        "COPY cannot accept a heredoc as a destination",
    );
    check_refused(
        "COPY --from=$x a b",
        "$x",
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround",
    );
    check_refused("ENV a", "ENV a", "ENV must have two arguments");
    check_refused(
        "ENV a=b c",
        "ENV a=b c",
        "syntax error - can't find = in \"c\". Must be of the form: name=value",
    );
    check_refused("ENV =b", "b", "ENV names can not be blank");
    check_refused("ARG =b", "=b", "ARG names can not be blank");
    check_refused("EXPOSE", "EXPOSE", "EXPOSE requires at least one argument");
    check_refused(
        "WORKDIR",
        "WORKDIR",
        "WORKDIR requires exactly one argument",
    );
    check_refused(
        "VOLUME [\"\"]",
        "\"\"",
        "VOLUME specified can not be an empty string",
    );
    check_refused(
        "SHELL sh -c",
        "sh -c",
        "SHELL requires the arguments to be in JSON form",
    );
    check_refused(
        "RUN [\"a\", 1]",
        "RUN [\"a\", 1]",
        "when using JSON array syntax, arrays must be comprised of strings only",
    );
    check_refused("RUN <<EOF\na", "RUN <<EOF\na", "unterminated heredoc");
}

#[test]
fn refuses_bad_healthchecks() {
    check_refused(
        "HEALTHCHECK NONE x",
        "HEALTHCHECK NONE x",
        "HEALTHCHECK NONE takes no arguments",
    );
    check_refused(
        "HEALTHCHECK CMD",
        "HEALTHCHECK CMD",
        "missing command after HEALTHCHECK CMD",
    );
    check_refused(
        "HEALTHCHECK TCP x",
        "TCP",
        "unknown type \"TCP\" in HEALTHCHECK (try CMD)",
    );
    check_refused(
        "HEALTHCHECK --interval=5 CMD x",
        "5",
        "missing unit in duration \"5\"",
    );
    check_refused(
        "HEALTHCHECK --interval=1us CMD x",
        "1us",
        "interval \"interval\" cannot be less than 1ms",
    );
    check_refused(
        "HEALTHCHECK --retries=-1 CMD x",
        "-1",
        "--retries cannot be negative (-1)",
    );
}

#[test]
fn refuses_bad_stages_and_triggers() {
    check_error(
        "FROM a b\n",
        "FROM a b",
        "FROM requires either one or three arguments",
    );
    check_error(
        "FROM a AS 1x\n",
        "1x",
        "invalid name for build stage: \"1x\", name can't start with a number or contain symbols",
    );
    check_error(
        "RUN a\nFROM b\n",
        "RUN a",
        "no build stage in current context",
    );
    check_error("ARG a\n", "ARG a", "dockerfile contains no stages to build");
    check_error("# nothing\n", "", "file with no instructions");
    check_refused(
        "ONBUILD ONBUILD RUN a",
        "ONBUILD",
        "chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    );
    check_refused(
        "ONBUILD FROM a",
        "FROM",
        "FROM isn't allowed as an ONBUILD trigger",
    );
    check_refused(
        "ONBUILD",
        "ONBUILD",
        "ONBUILD requires at least one argument",
    );
}

#[test]
fn an_instruction_that_means_nothing_is_told_with_its_line() {
    let errors = parse(&Source::new("f", "FROM x\nRUN a\nBADCMD\n")).unwrap_err();
    assert_eq!(
        errors[0].message,
        "dockerfile parse error on line 3: unknown instruction: BADCMD"
    );
    let leading = parse_leading(&Source::new("f", "FROM x\nRUN a \\\n b\nBAD\nRUN c\n")).unwrap();
    assert_eq!(leading.stages[0].instructions.len(), 1);
    assert!(parse_leading(&Source::new("f", "BAD\nFROM x\n")).is_none());
    assert!(parse_leading(&Source::new("f", "FROM x\n")).is_none());
}

#[test]
fn a_flood_of_errors_ends() {
    for line in ["ENV x\n", "NOT x\n"] {
        let errors = parse(&Source::new("f", line.repeat(1000))).unwrap_err();
        assert_eq!(errors.len(), tree::ERRORS_MAX, "{line}");
    }
    let chain = format!("FROM x\n{}RUN a\n", "ONBUILD ".repeat(100_000));
    assert_eq!(parse(&Source::new("f", chain)).unwrap_err().len(), 1);
}

#[test]
fn spanned_values_map() {
    let spanned = Spanned::new(1, Span::new(2, 3)).map(|value| value + 1);
    assert_eq!(spanned, Spanned::new(2, Span::new(2, 3)));
}
