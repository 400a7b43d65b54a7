//! What every command gets: settings, the printer, and a way to open the store.

use std::path::PathBuf;

use cairn_dockerfile::suggest::nearest;
use cairn_oci::Platform;
use cairn_sandbox::{CaTrust, Enter, Privilege};
use cairn_store::{OpenOptions, Ownership, Store, StoreError};
use tempfile::TempDir;

use crate::error::{CommandError, Kind};
use crate::host_trust::HostTrust;
use crate::printer::Printer;
use crate::settings::Settings;

/// The surroundings of a command.
#[derive(Debug)]
pub struct Session {
    /// What flags and environment say.
    pub settings: Settings,
    /// Where words go.
    pub printer: Printer,
}

impl Session {
    /// Opens the store, making it if there is none, and before that lets this process mount and,
    /// for an ordinary user, be root of its own files.
    ///
    /// To be called at most once and before anything starts a thread.
    pub fn open_store(&self) -> Result<Store, CommandError> {
        Ok(Store::open(self.settings.home()?, self.options()?)?)
    }

    /// Opens the store to read from it: a mistyped name makes no store. Conditions as for
    /// [`Session::open_store`].
    pub fn open_existing_store(&self) -> Result<Store, CommandError> {
        Ok(Store::open_existing(
            self.settings.home()?,
            self.options()?,
        )?)
    }

    /// As [`Session::open_existing_store`], but gives none where there is no store.
    pub fn store_if_there(&self) -> Result<Option<Store>, CommandError> {
        match Store::open_existing(self.settings.home()?, self.options()?) {
            Err(StoreError::NoStore { .. }) => Ok(None),
            opened => Ok(Some(opened?)),
        }
    }

    /// Opens the store for a command that only thinks about it; where there is none, an empty one
    /// that lasts as long as the directory that comes with it. Conditions as for
    /// [`Session::open_store`].
    pub fn store_or_none_yet(&self) -> Result<(Store, Option<TempDir>), CommandError> {
        let opened = self.store_or_an_empty_one()?;
        if opened.1.is_some() {
            self.tell_no_store()?;
        }
        Ok(opened)
    }

    /// As [`Session::store_or_none_yet`], for a command that does not need what a store has.
    pub fn store_or_an_empty_one(&self) -> Result<(Store, Option<TempDir>), CommandError> {
        let options = self.options()?;
        match Store::open_existing(self.settings.home()?, options) {
            Err(StoreError::NoStore { .. }) => {}
            opened => return Ok((opened?, None)),
        }
        let place = self.settings.temporary_dir();
        let directory = TempDir::new_in(&place).map_err(|error| {
            CommandError::from_error(Kind::Environment, &error)
                .while_doing(format!("cannot make a directory in {}", place.display()))
        })?;
        Ok((Store::open(directory.path(), options)?, Some(directory)))
    }

    /// Tells that there is no store where one was sought.
    pub fn tell_no_store(&self) -> Result<(), CommandError> {
        let home = self.settings.home()?.to_owned();
        self.printer.note(&StoreError::NoStore { home }.to_string());
        Ok(())
    }

    fn options(&self) -> Result<OpenOptions, CommandError> {
        let ownership = match self.enter()? {
            Privilege::Root | Privilege::SubuidRange => Ownership::Native,
            Privilege::SingleId => Ownership::Recorded,
        };
        Ok(OpenOptions { ownership })
    }

    /// Lets this process mount and be root of its own files. Conditions as for
    /// [`Session::open_store`].
    pub fn enter(&self) -> Result<Privilege, CommandError> {
        Ok(cairn_sandbox::enter(&Enter::default())?)
    }

    /// A directory that sandboxes may mount on. Nothing is ever written to it.
    pub fn scratch(&self, store: &Store) -> Result<PathBuf, CommandError> {
        let path = store.home().join("scratch");
        std::fs::create_dir_all(&path).map_err(|error| {
            CommandError::from_error(Kind::Environment, &error)
                .while_doing(format!("cannot create {}", path.display()))
        })?;
        Ok(path)
    }

    /// The certificates of this host that containers are to trust, if it has any of its own.
    pub fn host_certificates(&self) -> Option<CaTrust> {
        let trust = HostTrust::discover("/".as_ref(), &self.settings.environment);
        trust.pem.map(|pem| CaTrust { pem, set_env: true })
    }

    /// The platforms asked for, or this machine's; each once.
    pub fn platforms(&self, wanted: Option<&str>) -> Result<Vec<Platform>, CommandError> {
        let mut platforms = Vec::new();
        for text in wanted.map_or(Vec::new(), |texts| texts.split(',').collect()) {
            let platform = self.platform(Some(text.trim()))?;
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
        if platforms.is_empty() {
            platforms.push(host_platform());
        }
        Ok(platforms)
    }

    /// Tells of platforms that no image is known to be made for.
    pub fn tell_unfamiliar(&self, platforms: &[Platform]) {
        for platform in platforms {
            let Some((part, known)) = platform.unfamiliar() else {
                continue;
            };
            let near = nearest(part, known.iter());
            let near = near.map(|near| platform.to_string().replace(part, near));
            let near = near.map(|near| format!(": did you mean `{near}`?"));
            self.printer.warning(&format!(
                "`{platform}` is no platform that images are known to be made for{}",
                near.unwrap_or_default()
            ));
        }
    }

    /// The platform asked for, or this machine's.
    pub fn platform(&self, wanted: Option<&str>) -> Result<Platform, CommandError> {
        match wanted {
            None => Ok(host_platform()),
            Some(text) if text.contains(',') => Err(CommandError::usage(
                "this command is for one platform at a time",
            )
            .hint("name them one after the other: `--platform linux/amd64`, then the next")),
            Some(text) => text.parse::<Platform>().map_err(|error| {
                CommandError::from_error(Kind::Usage, &error)
                    .while_doing(format!("`{text}` is not a platform"))
                    .hint("platforms look like `linux/amd64` or `linux/arm64`")
            }),
        }
    }
}

/// The platform this program was built for, which is the one it runs on.
pub fn host_platform() -> Platform {
    Platform::of_this_program()
}
