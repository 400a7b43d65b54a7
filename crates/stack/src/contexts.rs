//! What the contexts of a lone build are: directories, archives, repositories, files of the web.
//!
//! A text after `--build-context NAME=`, or in the place of the context, means one of these:
//!
//! | text | means |
//! | --- | --- |
//! | `https://host/a.git#ref:dir`, `git@host:a`, `ssh://`, `git://`, `github.com/user/a` | a repository's files |
//! | `http://`, `https://` | an archive's files; of any other file a context that holds it as `context` |
//! | `docker-image://NAME`, `oci-layout://DIR[:TAG][@DIGEST]` | an image (named contexts only) |
//! | a file | an archive's files (named contexts only) |
//! | anything else | a directory |

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_build::archive::newest_time;
use cairn_build::attest::Origin;
use cairn_build::context::Context;
use cairn_build::image::load::{LoadOptions, Source as ImageSource};
use cairn_build::image::source::base_image;
use cairn_build::request::Named;
use cairn_build::resolve::BaseImage;
use cairn_oci::{Platform, redact};
use cairn_registry::Download;
use cairn_registry::Fetcher;
use cairn_registry::git::{Checkout, GitAddress, Repository};
use cairn_sandbox::Cancel;
use cairn_store::Store;

use crate::single::SingleError;

/// A file of the web larger than this is no context.
const DOWNLOAD_MAX: u64 = 64 << 30;
/// The name of a downloaded file in its context, as with BuildKit.
const DOWNLOADED: &str = "context";
/// How an image is named as a context: as BuildKit has it, and in two spellings of Buildah.
const IMAGE_SCHEMES: [&str; 3] = ["docker-image://", "docker://", "container-image://"];
/// Enough of a file to tell an archive by.
const START: usize = 1024;

/// What opening contexts needs.
#[derive(Clone, Copy)]
pub struct Opener<'a> {
    /// Keeps what is fetched and unpacked.
    pub store: &'a Store,
    /// Gets files from the web.
    pub fetcher: &'a Fetcher,
    /// Asks to stop.
    pub cancel: &'a Cancel,
    /// The platform to build for.
    pub platform: &'a Platform,
}

/// A context that came from elsewhere.
pub struct Fetched {
    /// Its files.
    pub context: Context,
    /// The Dockerfile in it, where a single file came and no archive.
    pub is_dockerfile: bool,
    /// The time of its commit, or what is known of a file's, if it has one.
    pub time: Option<i64>,
    /// Where it came from.
    pub origin: Origin,
}

/// Whether a text is a context that must be fetched.
pub fn is_remote(text: &str) -> bool {
    is_on_the_web(text) || !matches!(GitAddress::parse_context(text), Ok(None))
}

/// Whether a named context of this text must be fetched before it is known.
pub(crate) fn is_fetched(text: &str) -> bool {
    let mut schemes = IMAGE_SCHEMES.iter();
    let is_image = schemes.any(|scheme| text.starts_with(scheme));
    !is_image && !text.starts_with("oci-layout://") && is_remote(text)
}

fn is_on_the_web(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Opens a directory as a context.
pub(crate) fn open_directory(
    store: &Store,
    directory: &Path,
    dockerfile: Option<&Path>,
) -> Result<Context, SingleError> {
    let context = match dockerfile {
        Some(dockerfile) => Context::directory(directory, dockerfile)?,
        None => Context::named_directory(directory)?,
    };
    Ok(context.keeping_digests(store))
}

impl Opener<'_> {
    /// A directory, with its ignore file and what is known of its files.
    pub fn directory(
        &self,
        directory: &Path,
        dockerfile: Option<&Path>,
    ) -> Result<Context, SingleError> {
        open_directory(self.store, directory, dockerfile)
    }

    /// An archive.
    pub fn archive(&self, path: &Path, name: &str) -> Result<Context, SingleError> {
        Ok(Context::archive(
            open(path)?,
            name,
            self.store,
            self.cancel,
        )?)
    }

    /// A repository or a file of the web.
    pub fn remote(&self, text: &str, keep_git_dir: bool) -> Result<Fetched, SingleError> {
        match GitAddress::parse_context(text)? {
            Some(address) => self.repository(&address, keep_git_dir),
            None => self.download(text),
        }
    }

    fn repository(&self, address: &GitAddress, keep_git_dir: bool) -> Result<Fetched, SingleError> {
        let go_on = || !self.cancel.is_cancelled();
        let repository = Repository::new(&address.remote, &go_on)
            .with_logins(self.fetcher.logins())
            .allowed(self.fetcher.is_offline())?;
        let reference = address.reference.as_deref();
        let commit = repository.resolve(reference, address.checksum.as_deref())?;
        let checkout = Checkout {
            commit: &commit,
            reference,
            keep_git_dir: keep_git_dir || address.keep_git_dir == Some(true),
            skip_submodules: address.skip_submodules,
        };
        let mut time = None;
        let context = Context::checked_out(self.store, |into| {
            time = Some(repository.check_out(&checkout, into)?.time);
            Ok::<_, SingleError>(())
        })?;
        let context = match &address.subdir {
            Some(subdir) => context.below(subdir)?,
            None => context,
        };
        let remote = redact(&address.remote);
        let url = match reference {
            Some(reference) => format!("{remote}#{reference}"),
            None => remote,
        };
        Ok(Fetched {
            context,
            is_dockerfile: false,
            time,
            origin: Origin::Git { url, commit },
        })
    }

    fn download(&self, url: &str) -> Result<Fetched, SingleError> {
        let download = Download {
            url,
            digest: None,
            size: None,
            limit: DOWNLOAD_MAX,
        };
        let mut watch = |_| match self.cancel.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let fetched = self
            .fetcher
            .get_blob(self.store, &download, &mut watch)
            .map_err(|error| SingleError::Fetch(Box::new(error)))?;
        let path = self.store.blob_path(&fetched.digest);
        let is_archive = looks_like_archive(&path)?;
        let time = match fetched.last_modified {
            None if is_archive => newest_time(open(&path)?).unwrap_or_default(),
            time => time,
        };
        let context = match is_archive {
            true => self.archive(&path, &redact(url))?,
            false => Context::checked_out(self.store, |into| {
                let to = into.join(DOWNLOADED);
                let copied = std::fs::copy(&path, &to);
                copied.map(drop).map_err(|source| SingleError::Read {
                    path: path.clone(),
                    source,
                })
            })?,
        };
        Ok(Fetched {
            context,
            is_dockerfile: !is_archive,
            time,
            origin: Origin::File {
                url: redact(url),
                digest: fetched.digest,
            },
        })
    }

    /// What a named context stands for; an image, or files.
    pub fn named(&self, name: &str, text: &str) -> Result<NamedContext, SingleError> {
        let mut schemes = IMAGE_SCHEMES.iter();
        if let Some(reference) = schemes.find_map(|scheme| text.strip_prefix(scheme)) {
            return Ok(NamedContext::Image(Named::Image(reference.to_owned())));
        }
        if let Some(layout) = text.strip_prefix("oci-layout://") {
            return self.layout_image(name, layout).map(NamedContext::Image);
        }
        if let Some(stage) = text.strip_prefix("target:") {
            return Ok(NamedContext::Image(Named::Stage(stage.to_owned())));
        }
        let wrong = |reason| SingleError::NamedContext {
            name: name.to_owned(),
            source_text: text.to_owned(),
            reason,
        };
        if is_remote(text) {
            let fetched = self.remote(text, false)?;
            let context = Box::new(fetched.context);
            return Ok(NamedContext::Files(context, fetched.time, fetched.origin));
        }
        let here = || Origin::Local(name.to_owned());
        let path = Path::new(text);
        if path.is_file() {
            return match looks_like_archive(path)? {
                true => {
                    let context = Box::new(self.archive(path, text)?);
                    Ok(NamedContext::Files(context, None, here()))
                }
                false => Err(wrong("neither a directory nor an archive")),
            };
        }
        match path.is_dir() {
            true => {
                let context = Box::new(self.directory(path, None)?);
                Ok(NamedContext::Files(context, None, here()))
            }
            false => Err(wrong("no such directory")),
        }
    }

    /// Reads an image of a layout directory: `PATH`, `PATH:TAG` or `PATH@DIGEST`.
    fn layout_image(&self, name: &str, layout: &str) -> Result<Named, SingleError> {
        let (path, digest) = match layout.split_once('@') {
            Some((path, digest)) => (path, Some(digest)),
            None => (layout, None),
        };
        let (path, tag) = match path.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => (before, Some(tag.to_owned())),
            _ => (path, None),
        };
        let source = ImageSource::Oci {
            path: PathBuf::from(path),
            tag,
        };
        let options = LoadOptions {
            platform: self.platform.clone(),
            platform_required: false,
        };
        let loaded =
            cairn_build::image::load::load(self.store, &source, &options).map_err(|source| {
                SingleError::Layout {
                    name: name.to_owned(),
                    source,
                }
            })?;
        let wanted = loaded.into_iter().find(|loaded| match digest {
            Some(digest) => {
                let packed = loaded.record.packed.as_ref();
                packed.is_some_and(|packed| packed.digest.as_str() == digest)
            }
            None => true,
        });
        match wanted {
            Some(loaded) => Ok(Named::Opened(Arc::new(BaseImage {
                layout_of: Some(name.to_owned()),
                ..base_image(layout, loaded.record)
            }))),
            None => Err(SingleError::NamedContext {
                name: name.to_owned(),
                source_text: layout.to_owned(),
                reason: "the layout has no such image",
            }),
        }
    }
}

/// What a name of `--build-context` stands for.
pub enum NamedContext {
    /// An image.
    Image(Named),
    /// Files, their time if they have one, and where they came from.
    Files(Box<Context>, Option<i64>, Origin),
}

fn open(path: &Path) -> Result<File, SingleError> {
    File::open(path).map_err(|source| SingleError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Whether a file is an archive rather than a Dockerfile, by its first bytes.
pub fn looks_like_archive(path: &Path) -> Result<bool, SingleError> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(START as u64).read_to_end(&mut start))
        .map_err(|source| SingleError::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(is_archive_start(&start))
}

/// A Dockerfile is text; an archive holds zeros, or bytes that are no text.
fn is_archive_start(start: &[u8]) -> bool {
    start.contains(&0)
        || std::str::from_utf8(start).is_err_and(|error| {
            // A character that is cut at the end is still text.
            error.error_len().is_some()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_contexts_are_told_from_directories() {
        for remote in [
            "https://h/a.git",
            "http://h/a.tar.gz",
            "git@h:a",
            "github.com/a/b",
            "https://h/a.git?nonsense=1",
        ] {
            assert!(is_remote(remote), "{remote}");
        }
        for local in [".", "./git@h:a", "/a/b.git", "a.com/b", "C:/x"] {
            assert!(!is_remote(local), "{local}");
        }
    }

    #[test]
    fn dockerfiles_are_text() {
        assert!(!is_archive_start(b"FROM scratch\n"));
        assert!(
            !is_archive_start(b"FROM scratch # \xc3"),
            "cut in a character"
        );
        assert!(is_archive_start(b"\x1f\x8b\x08"));
        assert!(is_archive_start(b"a.txt\0\0\0"));
    }
}
