//! Flags of other builders that docker does not have, Buildah's and podman's above all.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cairn_build::engine::Settings as EngineSettings;
use cairn_build::request::Changes;
use cairn_sandbox::{Mount, Resolver};
use clap::Args;

use crate::commands::options::variable;
use crate::commands::output::truth;
use crate::environment::Environment;
use crate::error::{CommandError, Kind};
use crate::session::host_platform;

/// Where the host says how names are resolved.
const RESOLVER: &str = "/etc/resolv.conf";

/// What other builders can be told, too.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options for a lone Dockerfile, as other builders have them")]
pub struct BorrowedArgs {
    /// Set the build arguments of a file's lines, `NAME[=VALUE]` (can be repeated)
    #[arg(long, value_name = "FILE")]
    pub build_arg_file: Vec<PathBuf>,
    /// Begin the first stage on this image, whatever its FROM says
    #[arg(long, value_name = "IMAGE")]
    pub from: Option<String>,
    /// Take this for the ignore file of the context
    #[arg(long, value_name = "FILE")]
    pub ignorefile: Option<PathBuf>,
    /// Remove a variable from the image (can be repeated)
    #[arg(long, value_name = "NAME")]
    pub unsetenv: Vec<String>,
    /// Remove a label from the image (can be repeated)
    #[arg(long, value_name = "NAME")]
    pub unsetlabel: Vec<String>,
    /// Keep the labels of bases [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = switch)]
    pub inherit_labels: Option<bool>,
    /// Make one layer of all that is above the base
    #[arg(long)]
    pub squash: bool,
    /// Have no time of the image be later, in seconds since 1970 [default: $SOURCE_DATE_EPOCH]
    #[arg(long, value_name = "SECONDS", alias = "timestamp")]
    pub source_date_epoch: Option<i64>,
    /// Build for this system, in place of `--platform`
    #[arg(long, value_name = "OS", conflicts_with = "platform")]
    pub os: Option<String>,
    /// Build for this processor, in place of `--platform`
    #[arg(long, value_name = "ARCH", conflicts_with = "platform")]
    pub arch: Option<String>,
    /// Build for this variant of the processor, in place of `--platform`
    #[arg(long, value_name = "VARIANT", conflicts_with = "platform")]
    pub variant: Option<String>,
    /// Name the image, as `--tag` does
    #[arg(long, value_name = "NAME", hide = true)]
    pub manifest: Vec<String>,
    /// Write the image's id to a file, without the name of the algorithm
    #[arg(long, value_name = "FILE", alias = "raw-iidfile")]
    pub iidfile_raw: Option<PathBuf>,
    /// Show every step a file or directory of this machine: `HOST:TARGET[:ro]`; what lies in it
    /// is no part of the steps' keys (can be repeated)
    #[arg(long, short, value_name = "VOLUME", value_parser = volume)]
    pub volume: Vec<Mount>,
    /// Have steps ask this name server (can be repeated)
    #[arg(long, value_name = "IP")]
    pub dns: Vec<IpAddr>,
    /// Have steps complete names by this domain (can be repeated)
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Set an option of the steps' resolver (can be repeated)
    #[arg(long, value_name = "OPTION")]
    pub dns_option: Vec<String>,
    /// Put the processes of steps into this group, too (can be repeated)
    #[arg(long, value_name = "GID")]
    pub group_add: Vec<u32>,
    /// Confine steps further: `no-new-privileges` (can be repeated)
    #[arg(long, value_name = "OPTION", value_parser = security_option)]
    pub security_opt: Vec<SecurityOption>,
}

/// What `--security-opt` can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityOption {
    /// Setuid programs and file capabilities are powerless.
    NoNewPrivileges,
    /// What steps have anyway.
    AsItIs,
}

impl BorrowedArgs {
    /// A flag that was given, if one was.
    pub fn first_flag(&self) -> Option<&'static str> {
        [
            (!self.build_arg_file.is_empty(), "--build-arg-file"),
            (self.from.is_some(), "--from"),
            (self.ignorefile.is_some(), "--ignorefile"),
            (!self.unsetenv.is_empty(), "--unsetenv"),
            (!self.unsetlabel.is_empty(), "--unsetlabel"),
            (self.inherit_labels.is_some(), "--inherit-labels"),
            (self.squash, "--squash"),
            (self.source_date_epoch.is_some(), "--source-date-epoch"),
            (self.os.is_some(), "--os"),
            (self.arch.is_some(), "--arch"),
            (self.variant.is_some(), "--variant"),
            (!self.manifest.is_empty(), "--manifest"),
            (self.iidfile_raw.is_some(), "--iidfile-raw"),
            (!self.volume.is_empty(), "--volume"),
            (!self.dns.is_empty(), "--dns"),
            (!self.dns_search.is_empty(), "--dns-search"),
            (!self.dns_option.is_empty(), "--dns-option"),
            (!self.group_add.is_empty(), "--group-add"),
            (!self.security_opt.is_empty(), "--security-opt"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }

    /// The platform that its parts name, if they name one.
    pub fn platform(&self) -> Option<String> {
        if self.os.is_none() && self.arch.is_none() && self.variant.is_none() {
            return None;
        }
        let here = host_platform();
        let os = self.os.as_deref().unwrap_or(&here.os);
        let arch = self.arch.as_deref().unwrap_or(&here.architecture);
        Some(match &self.variant {
            Some(variant) => format!("{os}/{arch}/{variant}"),
            None => format!("{os}/{arch}"),
        })
    }

    /// The build arguments of the files, later ones last.
    pub fn args_of_files(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(String, String)>, CommandError> {
        let mut args = Vec::new();
        for path in &self.build_arg_file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CommandError::from_error(Kind::Usage, &error)
                    .while_doing(format!("cannot read {}", path.display()))
            })?;
            args.extend(args_of_lines(&text, path, environment)?);
        }
        Ok(args)
    }

    /// What is changed of the image; `env` are the values of `--env`.
    pub fn changes(
        &self,
        env: &[String],
        environment: &Environment,
    ) -> Result<Changes, CommandError> {
        let mut changes = Changes {
            env: Vec::new(),
            unset_env: self.unsetenv.clone(),
            unset_labels: self.unsetlabel.clone(),
            drop_base_labels: self.inherit_labels == Some(false),
            squash: self.squash,
            surroundings: self.surroundings(),
            devices: Vec::new(),
        };
        for text in env {
            let given =
                variable(text).map_err(|why| CommandError::usage(format!("--env: {why}")))?;
            changes.env.extend(with_value(given, environment));
        }
        Ok(changes)
    }

    /// What steps see of the flags, for their keys.
    fn surroundings(&self) -> Vec<(String, String)> {
        let mut words = Vec::new();
        let mut add = |name: &str, value: String| words.push((name.to_owned(), value));
        for group in &self.group_add {
            add("group", group.to_string());
        }
        if self.confines() {
            add("privileges", "no new ones".to_owned());
        }
        for mount in &self.volume {
            add("volume", in_words(mount));
        }
        words
    }

    fn confines(&self) -> bool {
        self.security_opt.contains(&SecurityOption::NoNewPrivileges)
    }

    /// Tells the engine what steps see.
    pub fn settle(
        &self,
        settings: &mut EngineSettings,
        network_none: bool,
    ) -> Result<(), CommandError> {
        let asks_for_names =
            !(self.dns.is_empty() && self.dns_search.is_empty() && self.dns_option.is_empty());
        if asks_for_names && network_none {
            return Err(CommandError::usage(
                "`--dns`, `--dns-search` and `--dns-option` say nothing with `--network none`",
            ));
        }
        if asks_for_names {
            let host = std::fs::read_to_string(RESOLVER).unwrap_or_default();
            settings.resolver = Resolver::Text(self.resolver(&host));
        }
        for mount in &self.volume {
            let source = source_of(mount);
            if !source.exists() {
                return Err(CommandError::usage(format!(
                    "`--volume`: there is no {} on this machine",
                    source.display()
                )));
            }
        }
        settings.volumes.clone_from(&self.volume);
        settings.groups.clone_from(&self.group_add);
        settings.no_new_privileges = self.confines();
        Ok(())
    }

    /// The host's text, with what was said in the place of what it says of the same.
    fn resolver(&self, host: &str) -> String {
        let said: BTreeSet<&str> = [
            (self.dns.is_empty(), "nameserver"),
            (self.dns_search.is_empty(), "search"),
            (self.dns_search.is_empty(), "domain"),
            (self.dns_option.is_empty(), "options"),
        ]
        .into_iter()
        .filter_map(|(is_hosts, word)| (!is_hosts).then_some(word))
        .collect();
        let mut lines: Vec<String> = Vec::new();
        if !self.dns_search.is_empty() {
            lines.push(format!("search {}", self.dns_search.join(" ")));
        }
        lines.extend(self.dns.iter().map(|server| format!("nameserver {server}")));
        if !self.dns_option.is_empty() {
            lines.push(format!("options {}", self.dns_option.join(" ")));
        }
        let kept = host.lines().filter(|line| {
            let word = line.split_whitespace().next().unwrap_or_default();
            !word.is_empty() && !said.contains(word)
        });
        lines.extend(kept.map(str::to_owned));
        lines.join("\n") + "\n"
    }
}

/// A truth value that a flag may have.
fn switch(text: &str) -> Result<bool, String> {
    truth(text).ok_or_else(|| format!("`{text}` is neither `true` nor `false`"))
}

/// A variable with its value, from the environment if none was given; none if there is none.
fn with_value(
    (name, value): (String, Option<String>),
    environment: &Environment,
) -> Option<(String, String)> {
    let value = match value {
        Some(value) => value,
        None => environment.exact(&name)?.to_str()?.to_owned(),
    };
    Some((name, value))
}

fn args_of_lines(
    text: &str,
    path: &Path,
    environment: &Environment,
) -> Result<Vec<(String, String)>, CommandError> {
    let mut args = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let given = variable(line).map_err(|why| {
            CommandError::usage(format!("{}:{}: {why}", path.display(), number + 1))
        })?;
        args.extend(with_value(given, environment));
    }
    Ok(args)
}

/// Reads `HOST:TARGET[:OPTION,OPTION]`.
fn volume(text: &str) -> Result<Mount, String> {
    let wrong = || format!("`{text}` is not HOST:TARGET[:ro]");
    let mut parts = text.split(':');
    let (host, target) = (parts.next().unwrap_or_default(), parts.next());
    let target = target.filter(|target| !host.is_empty() && target.starts_with('/'));
    let target = PathBuf::from(target.ok_or_else(wrong)?);
    let source = std::path::absolute(host).map_err(|error| error.to_string())?;
    let options = parts.next().unwrap_or_default();
    if parts.next().is_some() {
        return Err(wrong());
    }
    let (mut read_only, mut discards) = (false, false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "O" => discards = true,
            // Labels and propagation mean nothing here: steps have namespaces of their own.
            "z" | "Z" | "private" | "rprivate" | "slave" | "rslave" | "bind" | "rbind" => {}
            option => {
                return Err(format!(
                    "`{option}` is not one of ro, rw, O (writes are thrown away), z, Z"
                ));
            }
        }
    }
    Ok(match discards {
        true => Mount::BindDiscard { source, target },
        false => Mount::Bind {
            source,
            target,
            read_only,
        },
    })
}

/// What of a volume a step sees beside what lies in it.
pub fn in_words(mount: &Mount) -> String {
    let source = source_of(mount).display();
    match mount {
        Mount::Bind {
            target, read_only, ..
        } => {
            let access = if *read_only { "ro" } else { "rw" };
            format!("{source} at {}, {access}", target.display())
        }
        Mount::BindDiscard { target, .. } => format!("{source} at {}, O", target.display()),
        _ => String::new(),
    }
}

fn source_of(mount: &Mount) -> &Path {
    match mount {
        Mount::Bind { source, .. } | Mount::BindDiscard { source, .. } => source,
        _ => Path::new("/"),
    }
}

fn security_option(text: &str) -> Result<SecurityOption, String> {
    let (name, value) = text.split_once(['=', ':']).unwrap_or((text, "true"));
    match (name, value) {
        ("no-new-privileges", value) if truth(value) == Some(true) => {
            Ok(SecurityOption::NoNewPrivileges)
        }
        ("no-new-privileges", _) | ("label", _) | ("apparmor", "unconfined") => {
            Ok(SecurityOption::AsItIs)
        }
        _ => Err(format!(
            "`{text}` is not done: steps have docker's default profile; write `RUN \
             --security=insecure` where a step needs more, and allow it by `--allow \
             security.insecure`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read() {
        let read = |text| match volume(text) {
            Ok(Mount::Bind {
                source,
                target,
                read_only,
            }) => format!("{} {} {read_only}", source.display(), target.display()),
            Ok(other) => format!("{other:?}").chars().take(11).collect(),
            Err(why) => why,
        };
        assert_eq!(read("/a:/b"), "/a /b false");
        assert_eq!(read("/a:/b:ro,z"), "/a /b true");
        assert_eq!(read("/a:/b:rw,Z"), "/a /b false");
        assert_eq!(read("/a:/b:O"), "BindDiscard");
        for wrong in ["/a", ":/b", "/a:b", "/a:/b:ro:x"] {
            assert!(read(wrong).contains("HOST:TARGET"), "{wrong}");
        }
        assert!(read("/a:/b:noexec").contains("`noexec`"));
    }

    #[test]
    fn what_is_said_of_names_replaces_what_the_host_says_of_the_same() {
        let host = "# by hand\nnameserver 10.0.0.1\nsearch lab\noptions ndots:2\n";
        let args = BorrowedArgs {
            dns: vec!["1.1.1.1".parse().unwrap()],
            dns_option: vec!["use-vc".into()],
            ..BorrowedArgs::default()
        };
        assert_eq!(
            args.resolver(host),
            "nameserver 1.1.1.1\noptions use-vc\n# by hand\nsearch lab\n"
        );
        let args = BorrowedArgs {
            dns_search: vec!["a".into(), "b".into()],
            ..BorrowedArgs::default()
        };
        assert!(
            args.resolver(host)
                .starts_with("search a b\n# by hand\nnameserver 10.0.0.1\n")
        );
    }

    #[test]
    fn files_of_arguments_hold_lines() {
        let environment = Environment::from([("HERE", "yes")]);
        let read = |text| args_of_lines(text, Path::new("args"), &environment);
        let args = read("# names\n\nA=1=2\n  B=\nHERE\nNOWHERE\n").unwrap();
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(args, [own("A", "1=2"), own("B", ""), own("HERE", "yes")]);
        let wrong = read("A=1\n=2\n").unwrap_err();
        assert!(wrong.messages[0].contains("args:2"), "{wrong:?}");
    }

    #[test]
    fn parts_name_a_platform() {
        let platform = |os: Option<&str>, arch: Option<&str>, variant: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let args = BorrowedArgs {
                os: own(os),
                arch: own(arch),
                variant: own(variant),
                ..BorrowedArgs::default()
            };
            args.platform()
        };
        assert_eq!(platform(None, None, None), None);
        assert_eq!(
            platform(None, Some("arm64"), None),
            Some("linux/arm64".into())
        );
        let arm = platform(Some("freebsd"), Some("arm"), Some("v7"));
        assert_eq!(arm, Some("freebsd/arm/v7".into()));
    }

    #[test]
    fn security_is_confined_further_or_as_it_is() {
        assert_eq!(
            security_option("no-new-privileges"),
            Ok(SecurityOption::NoNewPrivileges)
        );
        assert_eq!(
            security_option("no-new-privileges=false"),
            Ok(SecurityOption::AsItIs)
        );
        assert_eq!(security_option("label=disable"), Ok(SecurityOption::AsItIs));
        for less in ["seccomp=unconfined", "unmask=ALL", "systempaths=unconfined"] {
            assert!(
                security_option(less).unwrap_err().contains("insecure"),
                "{less}"
            );
        }
    }
}
