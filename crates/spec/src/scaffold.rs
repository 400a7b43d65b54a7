//! The files of a new stack, and of a new image in one: what `cairn init` writes.
//!
//! Text in, text out: what is written is read back by [`crate::read`] before anybody sees it.

use cairn_diagnostic::{Diagnostic, Source};

use crate::stack::Stack;
use crate::written::Surroundings;

/// A file to be written, by its path from the stack's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// The path.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// A new stack: a small base from Debian's packages and one image on it, with a test. With
/// `from`, the image is made from that one instead and there is no base.
pub fn stack(name: &str, from: Option<&str>) -> Vec<NewFile> {
    let mut spec = format!("[stack]\nname = {}\n", quoted(name));
    let parent = match from {
        Some(from) => from,
        None => {
            spec.push_str(
                "\n# Assembled from signed packages; which versions exactly is in cairn.lock.\n\
                 [image.base]\n\
                 debian = { suite = \"bookworm\", packages = [\"ca-certificates\"] }\n\
                 internal = true\n",
            );
            "base"
        }
    };
    spec.push_str(&image_table("app", "images/app"));
    let mut files = vec![NewFile {
        path: crate::FILE_NAME.to_owned(),
        text: spec,
    }];
    files.extend(image_files("images/app", parent));
    files
}

/// A new image of a stack: the text of the spec with it, and its files.
///
/// An error is what is wrong with the spec once the image is in it: a name that is taken or
/// cannot be one.
pub fn image(
    spec: &Source,
    stack: &Stack,
    name: &str,
    parent: &str,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<NewFile>, Vec<Diagnostic>> {
    let folder = match home_of_images(stack) {
        Some(home) => format!("{home}/{name}"),
        None => name.to_owned(),
    };
    let text = format!("{}\n{}", spec.text.trim_end(), image_table(name, &folder));
    crate::read(&Source::new(spec.name.clone(), text.as_str()), surroundings)?;
    let mut files = vec![NewFile {
        path: crate::FILE_NAME.to_owned(),
        text,
    }];
    files.extend(image_files(&folder, parent));
    Ok(files)
}

/// The folder that the images' contexts lie in, if most do in one.
fn home_of_images(stack: &Stack) -> Option<String> {
    let contexts = stack.images.iter().filter_map(|image| match &image.source {
        crate::ImageSource::Dockerfile(source) => {
            Some(source.context.value.trim_start_matches("./"))
        }
        crate::ImageSource::Debian(_) => None,
    });
    let homes: Vec<&str> = contexts
        .filter_map(|context| context.trim_end_matches('/').rsplit_once('/'))
        .map(|(home, _)| home)
        .collect();
    let mut counted: Vec<(usize, &str)> = homes
        .iter()
        .map(|home| (homes.iter().filter(|it| *it == home).count(), *home))
        .collect();
    counted.sort();
    counted.last().map(|(_, home)| (*home).to_owned())
}

fn image_table(name: &str, folder: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let key = match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    };
    let test = quoted(&format!("{folder}/structure.yaml"));
    format!(
        "\n[image.{key}]\ncontext = {}\ntests = {{ structure = {test} }}\n",
        quoted(folder)
    )
}

fn image_files(folder: &str, parent: &str) -> Vec<NewFile> {
    let file = |name: &str, text: String| NewFile {
        path: format!("{folder}/{name}"),
        text,
    };
    vec![
        file(
            "Dockerfile",
            format!(
                "FROM {parent}\n\nCOPY --chmod=755 hello.sh /usr/local/bin/hello\n\nCMD [\"hello\"]\n"
            ),
        ),
        file("hello.sh", "#!/bin/sh\necho \"hello from $(uname -s)\"\n".to_owned()),
        file(
            "structure.yaml",
            "schemaVersion: 2.0.0\ncommandTests:\n  - name: says hello\n    command: hello\n    expectedOutput: [\"hello from\"]\n"
                .to_owned(),
        ),
        file(".dockerignore", ".git\nstructure.yaml\n".to_owned()),
    ]
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A name for a stack or an image out of any text: that of a folder, or of somebody's target.
pub fn name_from(text: &str) -> Option<String> {
    let mut name = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        let c = match c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            true => c,
            false => '-',
        };
        if !(c == '-' && name.ends_with('-')) {
            name.push(c);
        }
    }
    let name = name.trim_matches(['.', '_', '-']);
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Stack {
        crate::read(&Source::new("f", text), &Surroundings::none()).expect("a good spec")
    }

    fn paths(files: &[NewFile]) -> Vec<&str> {
        files.iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn a_new_stack_can_be_read() {
        let files = stack("lab", None);
        assert_eq!(read(&files[0].text).images.len(), 2);
        assert!(files[1].text.starts_with("FROM base\n"));
        let own = stack("lab", Some("debian:13"));
        assert_eq!(read(&own[0].text).images.len(), 1);
        assert!(own[1].text.starts_with("FROM debian:13\n"));
    }

    #[test]
    fn a_new_image_lies_beside_the_others_and_changes_nothing_else() {
        let text =
            "# mine\n[stack]\nname = \"lab\"\n[image.a]\ncontext = \"images/a\" # here\n\n\n";
        let spec = Source::new("cairn.toml", text);
        let files = image(&spec, &read(text), "b.c", "a", &Surroundings::none()).unwrap();
        assert_eq!(
            paths(&files)[1..3],
            ["images/b.c/Dockerfile", "images/b.c/hello.sh"]
        );
        assert!(files[0].text.starts_with(text.trim_end()));
        assert!(read(&files[0].text).exact("b.c").is_some());
        let taken = image(&spec, &read(text), "a", "a", &Surroundings::none());
        assert!(taken.is_err(), "the name is taken");
        let odd = image(&spec, &read(text), "B", "a", &Surroundings::none()).unwrap_err();
        assert_eq!(odd[0].message, "`B` cannot name an image");
        for odd in ["Bad Name", "a]", ""] {
            let all = image(&spec, &read(text), odd, "a", &Surroundings::none()).unwrap_err();
            assert_eq!(all[0].message, format!("`{odd}` cannot name an image"));
        }
    }

    #[test]
    fn names_are_made_of_what_is_there() {
        for (text, name) in [
            ("My Lab", "my-lab"),
            ("_x_", "x"),
            ("a  b", "a-b"),
            ("ml_platform", "ml_platform"),
        ] {
            assert_eq!(name_from(text).as_deref(), Some(name), "{text}");
        }
        assert_eq!(name_from("日本"), None);
    }
}
