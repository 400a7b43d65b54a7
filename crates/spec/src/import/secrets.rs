//! Secrets of a pipeline: none becomes a build argument, which every image shows.

use cairn_dockerfile::lint::is_secret;

use super::Verdict;
use super::draft::Draft;

/// Says that an argument is left out because a secret fills it, and what to write instead.
pub(super) fn leave_out(file: &str, what: impl Into<String>, name: &str, draft: &mut Draft) {
    let why = format!(
        "it is a secret and not given as an argument, where every image shows it: {}",
        instead(name)
    );
    draft.note(Verdict::Differs, file, what, why);
}

/// Says that the value of an argument is not known without a runner.
pub(super) fn unknown(file: &str, what: String, name: &str, draft: &mut Draft) {
    if is_secret(name) {
        return leave_out(file, what, name, draft);
    }
    let why = format!(
        "its value is known to the runner only: a variable of `[variables]` can bring it. If it is a secret, {}",
        instead(name)
    );
    draft.note(Verdict::Missing, file, what, why);
}

/// What to write in the place of an argument that holds a secret.
fn instead(name: &str) -> String {
    let name = match name.contains(['$', '{']) {
        true => "NAME",
        false => name,
    };
    format!(
        "put it into the file that `build.secrets` names, and ask for it with `RUN --mount=type=secret,id={name},env={name}`"
    )
}

/// Says that the secrets which steps ask for are found by their ids.
pub(super) fn by_id(file: &str, what: impl Into<String>, draft: &mut Draft) {
    draft.note(
        Verdict::Differs,
        file,
        what,
        "secrets come from the file that `build.secrets` names, by the same ids",
    );
}

/// Whether a value that comes from outside is a secret by its name, and nobody wrote one down.
pub(super) fn is_secret_from_outside(name: &str, default: &str) -> bool {
    default.is_empty() && is_secret(name)
}

/// Whether an expression of GitHub Actions names a secret itself.
pub(super) fn is_secret_word(word: &str) -> bool {
    word == "secrets" || word == "github.token" || word.starts_with("secrets.")
}
