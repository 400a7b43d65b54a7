//! Flags that several commands share, and the small languages of their values.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use cairn_oci::Platform;
use cairn_sandbox::{Ulimit, UlimitName};
use cairn_spec::Stack;
use cairn_stack::event::{Event, EventOptions, TriggerWord, detect};
use cairn_stack::load::{Choices, LoadError, LoadedStack, load, read_spec};
use clap::{ArgAction, Args, ValueEnum};

use crate::caches::CacheOptions;
use crate::error::CommandError;
use crate::session::Session;
use crate::settings::ProgressChoice;

/// Which stack.
#[derive(Debug, Clone, Args)]
pub struct StackOption {
    /// The stack's directory, the one with `cairn.toml`
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub stack: PathBuf,
    /// Lay an environment of the spec, `[env.NAME]`, over the rest of it
    #[arg(long = "env", value_name = "NAME", action = ArgAction::Set)]
    pub overlay: Vec<String>,
    /// Give a variable of the spec a value (can be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    pub variables: Vec<(String, String)>,
}

impl StackOption {
    /// Reads the stack for a platform.
    pub fn load(&self, session: &Session, platform: &Platform) -> Result<LoadedStack, LoadError> {
        self.choosing(session, platform, |choices| load(&self.stack, choices))
    }

    /// Whether there is a stack, or one was asked for.
    pub fn is_there(&self) -> bool {
        let is_usual = self.stack.as_os_str() == ".";
        !is_usual || self.stack.join(cairn_spec::FILE_NAME).exists()
    }

    /// Reads the spec of the stack, and nothing else of it.
    pub fn read(&self, session: &Session, platform: &Platform) -> Result<Stack, LoadError> {
        self.choosing(session, platform, |choices| read_spec(&self.stack, choices))
    }

    /// Does something with what is chosen about the stack.
    pub fn choosing<T>(
        &self,
        session: &Session,
        platform: &Platform,
        act: impl FnOnce(&Choices<'_>) -> T,
    ) -> T {
        act(&Choices {
            platform,
            overlay: self.overlay.last().map(String::as_str),
            variables: &self.variables.iter().cloned().collect(),
            environment: &session.settings.environment.texts(),
        })
    }
}

/// What a run answers; found out where nothing is said.
#[derive(Debug, Clone, Default, Args)]
pub struct EventOption {
    /// What the run answers [default: what the CI's environment says, else a push]
    #[arg(long, value_enum, value_name = "EVENT")]
    pub event: Option<EventWord>,
    /// The branch or the tag it is about [default: what the CI's environment or git says]
    #[arg(long = "ref", value_name = "NAME")]
    pub reference: Option<String>,
    /// The number of the pull request
    #[arg(long, value_name = "N")]
    pub number: Option<u64>,
}

/// What makes a run start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EventWord {
    /// A push to a branch, or a pushed tag
    Push,
    /// A pull request, or a merge request
    PullRequest,
    /// A set time
    Schedule,
    /// Somebody
    Manual,
}

impl EventOption {
    /// Finds out what a run of this stack answers.
    pub fn detect(&self, session: &Session, loaded: &LoadedStack) -> Event {
        let options = EventOptions {
            trigger: self.event.map(|word| match word {
                EventWord::Push => TriggerWord::Push,
                EventWord::PullRequest => TriggerWord::PullRequest,
                EventWord::Schedule => TriggerWord::Schedule,
                EventWord::Manual => TriggerWord::Manual,
            }),
            reference: self.reference.clone(),
            number: self.number,
        };
        detect(loaded, &session.settings.environment.texts(), &options)
    }
}

/// Which of the images for several platforms that a name leads to.
#[derive(Debug, Clone, Default, Args)]
pub struct PlatformOption {
    /// Take the image for this platform, where the name has several
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
}

impl PlatformOption {
    /// The platform that was named.
    pub fn named(&self, session: &Session) -> Result<Option<Platform>, CommandError> {
        let platform = self.platform.as_deref();
        let platform = platform.map(|text| session.platform(Some(text)));
        let platform = platform.transpose()?;
        session.tell_unfamiliar(platform.as_slice());
        Ok(platform)
    }
}

/// How progress is shown.
#[derive(Debug, Clone, Args)]
pub struct ProgressOption {
    /// How to show progress
    #[arg(long, value_enum, value_name = "FORM", default_value_t)]
    pub progress: ProgressChoice,
}

/// Machine-readable output.
#[derive(Debug, Clone, Args)]
pub struct JsonOption {
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// How a stack is built.
#[derive(Debug, Clone, Default, Args)]
pub struct BuildOptions {
    /// Run so many steps at once [default: the number of CPUs]
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Stop everything at the first failure, not only what depends on it
    #[arg(long)]
    pub fail_fast: bool,
    /// Run every step, whatever the store holds
    #[arg(long)]
    pub no_cache: bool,
    /// Run every step of this image of the stack, whatever the store holds (can be repeated)
    #[arg(long, value_name = "IMAGE")]
    pub rebuild: Vec<String>,
    /// Fail if `cairn.lock` does not fit the spec, rather than lock again
    #[arg(long)]
    pub locked: bool,
    /// Ask registries what the names of images from outside mean now, and move their locks
    #[arg(long, conflicts_with_all = ["locked", "offline"])]
    pub pull: bool,
    /// Fetch nothing: images from outside, packages and files of the web must be in the store.
    /// What a step does is its own affair
    #[arg(long)]
    pub offline: bool,
    /// Pull no image, as docker has it: files of the web are fetched
    #[arg(long, hide = true, conflicts_with = "pull")]
    pub pull_never: bool,
    /// Build for these platforms, with commas; for all that the spec lists: `all` [default: those
    /// that this machine can build; a lone Dockerfile: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,
    /// Allow steps what they do not get by themselves: `security.insecure`, `device`,
    /// `device=NAME`, `network.host` (can be repeated)
    #[arg(long, value_name = "ENTITLEMENT", value_delimiter = ',', value_parser = entitlement)]
    pub allow: Vec<Entitlement>,
    #[command(flatten)]
    pub caches: CacheOptions,
}

/// What a step may be allowed beyond the usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entitlement {
    /// The host's network, which steps have anyway.
    NetworkHost,
    /// `RUN --security=insecure`: all that the caller may do.
    SecurityInsecure,
    /// `RUN --device` of every device, or of one by its name, kind or class.
    Device(Option<String>),
}

/// Reads an entitlement as `docker buildx build` has it.
pub fn entitlement(text: &str) -> Result<Entitlement, String> {
    match text.split_once('=').unwrap_or((text, "")) {
        ("network.host", "") => Ok(Entitlement::NetworkHost),
        ("security.insecure", "") => Ok(Entitlement::SecurityInsecure),
        ("device", "") => Ok(Entitlement::Device(None)),
        ("device", name) => Ok(Entitlement::Device(Some(name.to_owned()))),
        ("alias", _) => Err("a device has no other name here: allow it by its own".to_owned()),
        _ => Err(format!(
            "`{text}` is not one of security.insecure, device, device=NAME, network.host"
        )),
    }
}

/// Reads `NAME=SOFT[:HARD]`, as docker does; -1 is no limit.
pub fn ulimit(text: &str) -> Result<Ulimit, String> {
    let wrong = || format!("`{text}` is not NAME=SOFT[:HARD]");
    let (name, values) = text.split_once('=').ok_or_else(wrong)?;
    let names = UlimitName::ALL;
    let what = names.into_iter().find(|known| known.name() == name);
    let what = what.ok_or_else(|| {
        let known: Vec<String> = names.into_iter().map(UlimitName::name).collect();
        format!("`{name}` is not one of {}", known.join(", "))
    })?;
    let value = |text: &str| match text {
        "-1" => Ok(None),
        number => number.parse().map(Some).map_err(|_| wrong()),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (value(soft)?, value(hard)?);
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err(format!("`{text}`: the soft limit is above the hard one"));
    }
    Ok(Ulimit { what, soft, hard })
}

/// Reads a size as docker's flags have it: `64m` is 64 MiB.
pub fn memory(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..]
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        unit => return Err(format!("`{unit}` is not a unit of memory; try `64m`")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{text}` is not a size; try `64m`"))?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// Splits `NAME=VALUE`; the name is not empty.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

/// In docker's words.
fn empty_key(text: &str) -> String {
    format!("invalid key-value pair \"{text}\": empty key")
}

/// Splits `NAME[=VALUE]`: without a value it is empty.
pub fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    match name {
        "" => Err(empty_key(text)),
        name => Ok((name.to_owned(), value.to_owned())),
    }
}

/// Splits `NAME[=VALUE]`: without a value it is taken from the environment.
pub fn variable(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(empty_key(text));
    }
    Ok((name.to_owned(), value))
}

/// Splits `HOST:IP` or `HOST=IP`. An IPv6 address may stand in brackets; `host-gateway` is how
/// docker calls the way to the host, whose network is this one.
pub fn host_line(text: &str) -> Result<(String, IpAddr), String> {
    let wrong = || format!("`{text}` is not HOST:IP");
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (host, address) = split.ok_or_else(wrong)?;
    let bare = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    let address = match bare {
        "host-gateway" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        bare => bare.parse().map_err(|_| wrong())?,
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok((host.to_owned(), address))
}

/// Splits the `key=value,key=value` of docker's flags. A field may stand in double quotes, in
/// which two of them are one; a key without a value has the value `true`.
pub fn fields(text: &str) -> Result<Vec<(String, String)>, String> {
    csv(text)?
        .into_iter()
        .map(|field| match field.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_ascii_lowercase(), value.to_owned())),
            None if field.trim().is_empty() => Err(format!("`{text}` has an empty field")),
            None => Ok((field.trim().to_ascii_lowercase(), "true".to_owned())),
        })
        .collect()
}

fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let at_start = fields.last().is_none_or(String::is_empty);
        match c {
            '"' if is_quoted && rest.peek() == Some(&'"') => {
                rest.next();
                push(&mut fields, '"');
            }
            '"' if is_quoted || at_start => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            c => push(&mut fields, c),
        }
    }
    if is_quoted {
        return Err(format!("`{text}` has a quote without an end"));
    }
    Ok(fields)
}

fn push(fields: &mut [String], c: char) {
    if let Some(field) = fields.last_mut() {
        field.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_csv_as_docker_reads_it() {
        let split = |text| fields(text).unwrap();
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        assert_eq!(
            split("type=oci,dest=a"),
            own(&[("type", "oci"), ("dest", "a")])
        );
        assert_eq!(
            split("id=a,\"src=b,c\"\"d\""),
            own(&[("id", "a"), ("src", "b,c\"d")])
        );
        assert_eq!(
            split("Type=tar,force"),
            own(&[("type", "tar"), ("force", "true")])
        );
        assert_eq!(split("dest=a=b"), own(&[("dest", "a=b")]));
        assert!(fields("a=b,").is_err() && fields("\"a=b").is_err() && fields("").is_err());
    }

    #[test]
    fn hosts_are_named_with_an_address() {
        let ip = |text: &str| host_line(text).map(|(host, ip)| (host, ip.to_string()));
        assert_eq!(ip("a:10.0.0.1"), Ok(("a".into(), "10.0.0.1".into())));
        assert_eq!(ip("a=::1"), Ok(("a".into(), "::1".into())));
        assert_eq!(ip("a:[::1]"), Ok(("a".into(), "::1".into())));
        assert_eq!(ip("a:host-gateway"), Ok(("a".into(), "127.0.0.1".into())));
        for wrong in ["a", "a:b", ":10.0.0.1", "a b:10.0.0.1", "a:10.0.0.300"] {
            assert!(ip(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ulimits_and_sizes_are_dockers() {
        let limit = |text| ulimit(text).map(|limit| (limit.what, limit.soft, limit.hard));
        let nofile = UlimitName::Nofile;
        assert_eq!(limit("nofile=10"), Ok((nofile, Some(10), Some(10))));
        assert_eq!(limit("nofile=10:-1"), Ok((nofile, Some(10), None)));
        for wrong in ["nofile", "nofile=x", "files=1", "nofile=2:1", "nofile=-1:1"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
        assert_eq!(memory("64m"), Ok(64 << 20));
        assert_eq!(memory("2GB"), Ok(2 << 30));
        assert_eq!(memory("1kib"), Ok(1 << 10));
        assert_eq!(memory("512"), Ok(512));
        assert!(memory("m").is_err() && memory("1x").is_err() && memory("").is_err());
        assert!(memory("99999999999g").is_err());
    }

    #[test]
    fn variables_may_lack_a_value_pairs_may_not() {
        assert_eq!(variable("A"), Ok(("A".into(), None)));
        assert_eq!(variable("A="), Ok(("A".into(), Some(String::new()))));
        assert_eq!(variable("A=b=c"), Ok(("A".into(), Some("b=c".into()))));
        assert!(variable("=b").is_err() && variable("").is_err());
        assert_eq!(pair("A=b"), Ok(("A".into(), "b".into())));
        assert!(pair("A").is_err() && pair("=b").is_err());
        assert_eq!(label("A"), Ok(("A".into(), String::new())));
        assert_eq!(label("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(label("=b").is_err() && label("").is_err());
    }
}
