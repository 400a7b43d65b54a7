//! How a run begins: the stack read for each platform, the store opened, and what was asked for.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use cairn_build::request::Lister;
use cairn_oci::Platform;
use cairn_sandbox::{CaTrust, Pem};
use cairn_spec::{CaPolicy, ImageId};
use cairn_stack::decide::{Reason, ReasonKind};
use cairn_stack::load::{LoadError, LoadedStack};
use cairn_stack::request::{RequestOptions, with_ancestors};
use cairn_store::Store;
use tempfile::TempDir;

use super::{PlatformRun, StackRun, locking, milliseconds_now};
use crate::caches::{self, CacheFrom};
use crate::commands::options::{BuildOptions, EventOption, StackOption};
use crate::commands::signatures::trust;
use crate::error::{CommandError, Kind};
use crate::means::Means;
use crate::platforms::{Chosen, Purpose, Wanted, leave_out};
use crate::policy::Policy;
use crate::secrets_file;
use crate::session::{Session, host_platform};

impl StackRun {
    /// Reads the stack and opens the store. Conditions as for [`Session::open_store`].
    pub fn open(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
    ) -> Result<Self, CommandError> {
        Self::open_for(session, stack, options, images, Purpose::Build)
    }

    /// As [`StackRun::open`], for something else than images in the store.
    pub fn open_for(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        purpose: Purpose,
    ) -> Result<Self, CommandError> {
        let event = EventOption::default();
        Self::open_event(session, stack, options, images, purpose, &event)
    }

    /// As [`StackRun::open_for`], for an event that the command line may name.
    pub fn open_event(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        purpose: Purpose,
        event: &EventOption,
    ) -> Result<Self, CommandError> {
        let open = || Ok((session.open_store()?, None));
        Self::over(open, session, stack, options, images, purpose, event)
    }

    /// As [`StackRun::open_for`], for a command that changes nothing: no store is made.
    pub fn look(
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        purpose: Purpose,
    ) -> Result<Self, CommandError> {
        let open = || session.store_or_none_yet();
        let event = EventOption::default();
        let mut run = Self::over(open, session, stack, options, images, purpose, &event)?;
        run.means.fetches = false;
        run.means.settings.only_looks = true;
        Ok(run)
    }

    fn over(
        open: impl FnOnce() -> Result<(Store, Option<TempDir>), CommandError>,
        session: &Session,
        stack: &StackOption,
        options: &BuildOptions,
        images: &[String],
        purpose: Purpose,
        event: &EventOption,
    ) -> Result<Self, CommandError> {
        let wanted = Wanted::read(session, options.platform.as_deref())?;
        let loaded = stack.load(session, &wanted.first())?;
        let (store, no_store_yet) = open()?;
        let room_before = store.room().ok().map(|room| room.free_bytes);
        let mut means = Means::over(store, session, options)?;
        let mut caches = options.caches.clone();
        if caches.cache_from.is_empty() {
            let named = loaded.stack.build.cache_from.iter().cloned();
            caches.cache_from = named.map(CacheFrom::Registry).collect();
        }
        let policy = Policy::of(session, &loaded, event);
        let asked = select(&loaded, images)?;
        let is_named = !images.is_empty();
        let chosen = wanted.choose(session, &policy, purpose, &asked, is_named)?;
        let leaves_out = !wanted.is_demand() && purpose != Purpose::Elsewhere;
        let platforms = platform_runs(session, &loaded, chosen, leaves_out)?;
        let selected: BTreeSet<ImageId> = platforms
            .iter()
            .flat_map(|run| run.selected.iter().copied())
            .collect();
        let lacking = asked.iter().find(|id| !selected.contains(id));
        if let Some(id) = lacking
            && purpose != Purpose::Publish
            && (is_named || selected.is_empty())
        {
            let name = &loaded.stack[*id].name;
            let text = format!("`{name}` is for platforms that this machine cannot build it for");
            return Err(CommandError::usage(text).hint(
                "`--platform` asks for one of them all the same, and says what is in the way",
            ));
        }
        locking::refuse_stale(&platforms)?;
        let names: Vec<Platform> = platforms
            .iter()
            .map(|run| run.loaded.platform.clone())
            .collect();
        caches::open(&caches, &mut means, &names, &session.printer)?;
        if let Some(file) = &loaded.stack.build.secrets {
            let secrets = secrets_file::read(session, &stack.stack.join(&file.value))?;
            means.take_secrets(secrets, &session.printer);
        }
        means.trust = trust(&stack.stack, &loaded.stack)?;
        let build = &loaded.stack.build;
        if let (None, Some(jobs)) = (options.jobs, build.jobs) {
            means.settings.jobs = jobs.get();
        }
        match &build.ca.value {
            CaPolicy::Host => {}
            CaPolicy::None => means.settings.ca = None,
            CaPolicy::File(name) => means.settings.ca = Some(trusted(&stack.stack.join(name))?),
        }
        let mut again = policy.again();
        if !options.rebuild.is_empty() {
            let named = select(&loaded, &options.rebuild)?;
            again.extend(named.into_iter().map(|id| (id, by_flag())));
        }
        let keys = again.keys().copied().collect();
        Ok(Self {
            means,
            platforms,
            selected: selected.into_iter().collect(),
            asked,
            is_demand: wanted.is_demand() && purpose != Purpose::Elsewhere,
            purpose,
            loaded,
            again,
            tells_made_of: false,
            room_before,
            event: event.clone(),
            started_ms: milliseconds_now(),
            is_locked: options.locked,
            is_offline: options.offline,
            caches,
            options: RequestOptions {
                build_platform: host_platform(),
                epoch: session.settings.source_date_epoch()?,
                no_cache: options.no_cache,
                again: keys,
                lister: Lister::Nobody,
            },
            wish: None,
            _no_store_yet: no_store_yet,
        })
    }
}

/// Reads the stack for each platform, and takes out what this machine cannot build if it may.
fn platform_runs(
    session: &Session,
    first: &LoadedStack,
    chosen: Vec<Chosen>,
    leaves_out: bool,
) -> Result<Vec<PlatformRun>, CommandError> {
    let mut runs: Vec<PlatformRun> = Vec::new();
    for Chosen {
        platform,
        mut images,
    } in chosen
    {
        let loaded = match platform == first.platform {
            true => first.clone(),
            false => first.on(&platform)?,
        };
        if leaves_out {
            leave_out(&session.printer, &loaded, &mut images);
        }
        runs.push(PlatformRun {
            loaded,
            selected: images,
        });
    }
    // Siblings that are taken for yet other platforms: `FROM --platform=$BUILDPLATFORM`.
    loop {
        let loaded: Vec<&LoadedStack> = runs.iter().map(|it| &it.loaded).collect();
        let selected: Vec<&[ImageId]> = runs.iter().map(|it| &*it.selected).collect();
        let mut lacking: Option<Platform> = None;
        for (part, id) in with_ancestors(&loaded, &selected) {
            let mut elsewhere = loaded[part].parents_elsewhere(id);
            let is_new = |it: &Platform| loaded.iter().all(|known| known.platform != *it);
            lacking = lacking.or_else(|| {
                let (_, platform) = elsewhere.find(|(_, platform)| is_new(platform))?;
                Some(platform.clone())
            });
        }
        let Some(platform) = lacking else {
            return Ok(runs);
        };
        runs.push(PlatformRun {
            loaded: first.on(&platform)?,
            selected: Vec::new(),
        });
    }
}

fn by_flag() -> Reason {
    Reason {
        kind: ReasonKind::Flag,
        because: "`--rebuild` names it".to_owned(),
        place: None,
    }
}

/// The images that words on the command line mean; all if there are none.
pub fn select(loaded: &LoadedStack, names: &[String]) -> Result<Vec<ImageId>, CommandError> {
    if names.is_empty() {
        return Ok(loaded.stack.ids().collect());
    }
    let mut selected = Vec::new();
    for name in names {
        let meant = loaded.stack.select(name);
        if meant.is_empty() {
            return Err(unknown_image(loaded, name));
        }
        selected.extend(meant);
    }
    selected.sort();
    selected.dedup();
    Ok(selected)
}

fn unknown_image(loaded: &LoadedStack, name: &str) -> CommandError {
    let stack = &loaded.stack.name;
    let error = CommandError::usage(format!("the stack `{stack}` has no image `{name}`"));
    if Path::new(name).is_dir() {
        return error.hint(format!(
            "to build the Dockerfile in that directory, write `./{name}`"
        ));
    }
    match loaded.stack.nearest(name) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

fn trusted(path: &Path) -> Result<CaTrust, CommandError> {
    let pem = std::fs::read_to_string(path).map_err(|error| {
        CommandError::from_error(Kind::Usage, &error)
            .while_doing(format!("cannot read {}", path.display()))
    })?;
    Ok(CaTrust {
        pem: Pem::Text(pem),
        set_env: true,
    })
}

impl From<LoadError> for CommandError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Findings(findings) => Self::from_findings(Kind::Usage, findings),
            LoadError::NoSpec { .. } => Self::from_error(Kind::Usage, &error)
                .hint("name the stack's directory with `--stack DIR`")
                .hint("a Dockerfile alone is built with its context: `cairn build .`"),
            LoadError::Read { ref source, .. } => {
                let kind = match source.kind() {
                    io::ErrorKind::InvalidData => Kind::Usage,
                    _ => Kind::Environment,
                };
                Self::from_error(kind, &error)
            }
        }
    }
}
