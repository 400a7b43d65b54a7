//! Flags of docker, buildx, Buildah and podman that are not done here.
//!
//! Scripts that were written for another builder meet one of two answers: a flag that cannot
//! change what is built is taken and means nothing; any other is refused with what to do instead.
//! Which it is stands in one table, [`FLAGS`].

use clap::builder::{Arg, ArgAction, Command};
use clap::parser::ArgMatches;
use clap::{Args, FromArgMatches};

use crate::error::CommandError;

/// One flag of another builder.
#[derive(Debug)]
pub struct Foreign {
    name: &'static str,
    short: Option<char>,
    has_value: bool,
    answer: Answer,
}

/// What is done about a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It changes nothing that is built.
    Taken,
    /// It changes nothing if it says one of these, and is refused with the sentence otherwise.
    TakenAs(&'static [&'static str], &'static str),
    /// It is refused with this sentence: what to do instead.
    Refused(&'static str),
}

use Answer::{Refused, Taken, TakenAs};

const fn switch(name: &'static str, answer: Answer) -> Foreign {
    Foreign {
        name,
        short: None,
        has_value: false,
        answer,
    }
}

const fn value(name: &'static str, answer: Answer) -> Foreign {
    Foreign {
        name,
        short: None,
        has_value: true,
        answer,
    }
}

const fn short(short: char, flag: Foreign) -> Foreign {
    Foreign {
        short: Some(short),
        ..flag
    }
}

const OWN_NAMESPACES: &str = "every step has namespaces of its own: leave it out";
const CAPABILITIES: &str = "steps have docker's default capabilities; write `RUN --security=insecure` where a step needs \
     more, and allow it by `--allow security.insecure`";
const LOGINS: &str = "logins are those of `podman login` and `docker login`; `REGISTRY_AUTH_FILE` names another file";
const PACKAGES: &str =
    "no lists of packages are made: run the scanner on what `cairn export` writes";
const CPP: &str =
    "no preprocessor is run: do it yourself, `cpp -E -P FILE | cairn build -f - CONTEXT`";
const ANNOTATIONS: &str =
    "an image has the annotations that `--annotation` gives it, and no others: leave it out";
const SIGNATURES: &str = "signatures are neither made nor checked here";
const TRUE: &[&str] = &["true", "1", "t", "T", "TRUE", "True"];
const FALSE: &[&str] = &["false", "0", "f", "F", "FALSE", "False"];

/// Every flag that is not done, in the order of the alphabet.
pub const FLAGS: &[Foreign] = &[
    switch(
        "all-platforms",
        Refused("name the platforms: `--platform linux/amd64,linux/arm64`"),
    ),
    value("authfile", Refused(LOGINS)),
    value("builder", Taken),
    value(
        "cache-ttl",
        Refused("results do not grow old; `--no-cache` runs every step again"),
    ),
    value("cap-add", Refused(CAPABILITIES)),
    value("cap-drop", Refused(CAPABILITIES)),
    value(
        "cert-dir",
        Refused(
            "certificates of registries are taken from `certs.d`, as docker and podman have it",
        ),
    ),
    value("cgroupns", TakenAs(&["private", ""], OWN_NAMESPACES)),
    switch(
        "compat-volumes",
        TakenAs(
            FALSE,
            "what a RUN writes below a VOLUME stays, as with BuildKit",
        ),
    ),
    switch("compress", Taken),
    value(
        "compression-format",
        Refused(
            "say it where the image leaves: `--output type=image,compression=zstd` or `cairn push`",
        ),
    ),
    value("compression-level", Taken),
    value("cpp-flag", Refused(CPP)),
    value("cpu-period", Taken),
    value("cpu-quota", Taken),
    short('c', value("cpu-shares", Taken)),
    value("cpuset-cpus", Taken),
    value("cpuset-mems", Taken),
    switch("created-annotation", Taken),
    value("creds", Refused(LOGINS)),
    short('D', switch("debug", Taken)),
    value(
        "decryption-key",
        Refused(
            "encrypted images are not read: decrypt the base first, with `skopeo copy --decryption-key`",
        ),
    ),
    switch(
        "detach",
        Refused("there is no daemon to go on without you: put the command into the background"),
    ),
    value("cw", Refused("no confidential workloads are made")),
    switch("disable-compression", Taken),
    switch("disable-content-trust", Taken),
    switch("force-compression", Taken),
    switch("force-rm", Taken),
    value(
        "format",
        TakenAs(
            &["oci", "docker"],
            "an image of the store has no format; `--output type=oci|docker,dest=FILE` writes one",
        ),
    ),
    value(
        "hooks-dir",
        Refused("no hooks are run: there is no runtime below Cairn that would"),
    ),
    switch(
        "http-proxy",
        TakenAs(
            TRUE,
            "steps get the proxy variables of the environment: unset them for this command",
        ),
    ),
    switch("identity-label", Taken),
    switch("inherit-annotations", Taken),
    value(
        "invoke",
        Refused(
            "no shell is opened in a failed step: build the stage before it with `--target`, then `cairn run`",
        ),
    ),
    value(
        "ipc",
        TakenAs(&["private", "none", "shareable", ""], OWN_NAMESPACES),
    ),
    value(
        "isolation",
        TakenAs(
            &["default", "process", "oci", "rootless", "chroot"],
            "steps are isolated by namespaces: leave it out",
        ),
    ),
    value("layer-label", Taken),
    switch("layers", Taken),
    switch("log-rusage", Taken),
    value(
        "logfile",
        Refused("progress goes to standard error: write `2>FILE`"),
    ),
    switch("logsplit", Taken),
    value("memory-swap", Taken),
    value("memory-swappiness", Taken),
    value(
        "mount",
        Refused("write `RUN --mount=` where it is needed, or give all steps a `--volume`"),
    ),
    switch("no-hostname", Taken),
    switch(
        "no-hosts",
        Refused(
            "steps have an `/etc/hosts` of their own, of which nothing stays in the image: leave it out",
        ),
    ),
    switch("no-pivot", Taken),
    switch(
        "omit-history",
        Refused("an image has its history: leave it out"),
    ),
    value("os-feature", Refused("features of Windows are not set")),
    value("os-version", Refused("versions of Windows are not set")),
    value("pid", TakenAs(&["private", ""], OWN_NAMESPACES)),
    value(
        "policy",
        Refused("no policies are evaluated: check the Dockerfile with `cairn lint`"),
    ),
    value("retry", Taken),
    value("retry-delay", Taken),
    switch("rewrite-timestamp", Taken),
    switch("rm", Taken),
    value(
        "root",
        Refused("there is no daemon; `--home DIR` names the store"),
    ),
    value("runtime", Taken),
    value("runtime-flag", Taken),
    value(
        "rusage-logfile",
        Refused("`cairn show` tells how long each step took"),
    ),
    switch(
        "save-stages",
        TakenAs(
            FALSE,
            "a stage becomes an image with `--target STAGE --tag NAME`",
        ),
    ),
    value("sbom-image-output", Refused(PACKAGES)),
    value("sbom-image-purl-output", Refused(PACKAGES)),
    value("sbom-merge-strategy", Refused(PACKAGES)),
    value("sbom-output", Refused(PACKAGES)),
    value("sbom-preset", Refused(PACKAGES)),
    value("sbom-purl-output", Refused(PACKAGES)),
    value("sbom-scanner-command", Refused(PACKAGES)),
    value("sbom-scanner-image", Refused(PACKAGES)),
    value(
        "server-config",
        Refused("there is no daemon to be configured"),
    ),
    value("sign-by", Refused(SIGNATURES)),
    value("signature-policy", Refused(SIGNATURES)),
    switch(
        "skip-unused-stages",
        TakenAs(
            TRUE,
            "stages that the target does not need are never built; `--target` builds another one",
        ),
    ),
    switch(
        "squash-all",
        Refused(
            "`--squash` makes one layer above the base; `cairn export IMAGE type=tar` has no layers at all",
        ),
    ),
    switch(
        "stage-labels",
        TakenAs(
            FALSE,
            "there are no images of single stages that could be labelled",
        ),
    ),
    switch(
        "stdin",
        Refused("steps read nothing: bring the text in with a file, a heredoc or a secret"),
    ),
    switch("stream", Taken),
    switch(
        "tls-verify",
        TakenAs(
            TRUE,
            "name the registries that may be asked without https: `CAIRN_INSECURE_REGISTRIES=HOST:PORT`",
        ),
    ),
    value("unsetannotation", Refused(ANNOTATIONS)),
    value("userns", Taken),
    value("userns-gid-map", Taken),
    value("userns-gid-map-group", Taken),
    value("userns-uid-map", Taken),
    value("userns-uid-map-user", Taken),
    value("uts", TakenAs(&["private", ""], OWN_NAMESPACES)),
];

/// The flags of [`FLAGS`] that a command line has.
#[derive(Debug, Clone, Default)]
pub struct ForeignArgs {
    given: Vec<(&'static str, String)>,
}

impl ForeignArgs {
    /// Refuses the first flag that means something.
    pub fn check(&self) -> Result<(), CommandError> {
        for (name, said) in &self.given {
            let Some(flag) = FLAGS.iter().find(|flag| flag.name == *name) else {
                continue;
            };
            flag.check(said)?;
        }
        Ok(())
    }
}

impl Foreign {
    fn check(&self, said: &str) -> Result<(), CommandError> {
        let refused = |instead: &str| {
            Err(CommandError::usage(format!("`--{}` is not done here", self.name)).hint(instead))
        };
        match self.answer {
            Taken => Ok(()),
            TakenAs(values, _) if values.contains(&said) => Ok(()),
            // A switch that is off asks for nothing.
            Refused(_) if !self.has_value && FALSE.contains(&said) => Ok(()),
            TakenAs(_, instead) | Refused(instead) => refused(instead),
        }
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name)
            .long(self.name)
            .hide(true)
            .action(ArgAction::Append);
        let arg = match self.short {
            Some(short) => arg.short(short),
            None => arg,
        };
        match self.has_value {
            true => arg.num_args(1).allow_hyphen_values(true),
            false => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
        }
    }
}

impl Args for ForeignArgs {
    fn augment_args(command: Command) -> Command {
        FLAGS
            .iter()
            .fold(command, |command, flag| command.arg(flag.arg()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ForeignArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for flag in FLAGS {
            for said in matches.get_many::<String>(flag.name).into_iter().flatten() {
                given.push((flag.name, said.clone()));
            }
        }
        Ok(Self { given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::super::args::BuildArgs;
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BuildArgs,
    }

    const DOCKER: &str = "add-host build-arg cache-from compress cpu-period cpu-quota \
        cpu-shares cpuset-cpus cpuset-mems disable-content-trust file force-rm iidfile isolation \
        label memory memory-swap network no-cache platform progress pull quiet rm secret \
        security-opt shm-size squash ssh tag target ulimit";
    const BUILDX: &str = "allow annotation attest build-context builder cache-to call check debug \
        detach invoke load metadata-file no-cache-filter output policy provenance push root sbom \
        server-config";
    const BUILDAH: &str = "all-platforms arch authfile build-arg-file cache-ttl cap-add cap-drop \
        cdi-config-dir cert-dir cgroupns compat-volumes compression-format cpp-flag \
        created-annotation creds cw decryption-key device disable-compression dns dns-option \
        dns-search env force-compression format from group-add hooks-dir http-proxy \
        identity-label ignorefile iidfile-raw inherit-annotations inherit-labels ipc jobs \
        layer-label layers log-rusage logfile logsplit manifest mount net no-hostname no-hosts \
        no-pivot omit-history os os-feature os-version pid raw-iidfile retry retry-delay \
        rewrite-timestamp runtime runtime-flag rusage-logfile save-stages sbom-image-output \
        sbom-image-purl-output sbom-merge-strategy sbom-output sbom-preset sbom-purl-output \
        sbom-scanner-command sbom-scanner-image sign-by signature-policy skip-unused-stages \
        source-date-epoch squash-all stage-labels stdin timestamp tls-verify unsetannotation \
        unsetenv unsetlabel userns userns-gid-map userns-gid-map-group userns-uid-map \
        userns-uid-map-user uts variant volume";

    const TAKEN: &str = "builder compress cpu-period cpu-quota cpu-shares cpuset-cpus cpuset-mems \
        created-annotation debug disable-compression disable-content-trust force-compression \
        force-rm identity-label inherit-annotations layer-label layers log-rusage logsplit \
        memory-swap no-hostname no-pivot retry retry-delay rewrite-timestamp rm runtime \
        runtime-flag userns userns-gid-map userns-gid-map-group userns-uid-map \
        userns-uid-map-user";
    const TAKEN_AS_IT_IS: &str = "cgroupns compat-volumes format http-proxy ipc isolation pid \
        save-stages skip-unused-stages stage-labels tls-verify uts";
    const REFUSED: &str = "all-platforms authfile cache-ttl cap-add cap-drop \
        cert-dir compression-format cpp-flag creds cw decryption-key detach hooks-dir \
        invoke logfile mount no-hosts omit-history os-feature os-version policy root \
        rusage-logfile sbom-image-output sbom-image-purl-output sbom-merge-strategy sbom-output \
        sbom-preset sbom-purl-output sbom-scanner-command sbom-scanner-image server-config \
        sign-by signature-policy squash-all stdin unsetannotation";

    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split_whitespace()
    }

    #[test]
    fn every_flag_of_other_builders_is_done_taken_or_refused() {
        let command = Line::command();
        let mut known = BTreeSet::new();
        for arg in command.get_arguments() {
            known.extend(arg.get_long());
            known.extend(arg.get_all_aliases().unwrap_or_default());
        }
        for name in words(DOCKER).chain(words(BUILDX)).chain(words(BUILDAH)) {
            assert!(known.contains(name), "--{name} is not known");
            let flag = FLAGS.iter().find(|flag| flag.name == name);
            let found = match flag.map(|flag| flag.answer) {
                None => None,
                Some(Taken) => Some(TAKEN),
                Some(TakenAs(..)) => Some(TAKEN_AS_IT_IS),
                Some(Refused(_)) => Some(REFUSED),
            };
            let listed = [TAKEN, TAKEN_AS_IT_IS, REFUSED]
                .into_iter()
                .find(|list| words(list).any(|listed| listed == name));
            assert_eq!(listed, found, "--{name}");
        }
    }

    fn said(line: &str) -> Result<(), String> {
        let words = std::iter::once("build").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let told = line.args.foreign.check();
        told.map_err(|error| [error.messages, error.hints].concat().join("; "))
    }

    #[test]
    fn what_changes_nothing_is_taken_and_the_rest_says_what_to_do_instead() {
        for taken in [
            "--compress --rm --force-rm=false -c 2 --memory-swap -1 .",
            "--layers=false --format docker --tls-verify --isolation chroot -D .",
            "--pid private --stdin=false --all-platforms=false .",
        ] {
            assert_eq!(said(taken), Ok(()), "{taken}");
        }
        for flag in FLAGS {
            let (TakenAs(_, instead) | Refused(instead)) = flag.answer else {
                continue;
            };
            let line = match flag.has_value {
                true => format!("--{} something .", flag.name),
                false if matches!(flag.answer, TakenAs(values, _) if values == TRUE) => {
                    format!("--{}=false .", flag.name)
                }
                false => format!("--{} .", flag.name),
            };
            let told = said(&line).unwrap_err();
            assert_eq!(
                told,
                format!("`--{}` is not done here; {instead}", flag.name)
            );
        }
    }
}
