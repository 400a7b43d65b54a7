//! Pull requests publish nothing, whatever a flag says.

use cairn_spec::tags::Trigger;
use cairn_stack::event::{Event, Origin};

use crate::error::CommandError;

/// Refuses to take the run of a pull request for something else: its files are anybody's. Whoever
/// means it takes away what the CI says, which nobody does by accident.
pub(super) fn refuse_disguised(event: &Event) -> Result<(), CommandError> {
    let is_told_otherwise = !matches!(event.facts.trigger, Trigger::PullRequest { .. });
    if !event.is_of_request || !is_told_otherwise {
        return Ok(());
    }
    let (who, without) = match event.origin {
        Origin::GitHub => (
            "GitHub Actions says",
            "env -u GITHUB_ACTIONS -u GITHUB_EVENT_NAME",
        ),
        Origin::GitLab => ("GitLab CI says", "env -u GITLAB_CI -u CI_MERGE_REQUEST_IID"),
        Origin::Git => return Ok(()),
    };
    Err(CommandError::usage(format!(
        "a pull request publishes nothing: {who} that this run is one's, and `--event` does not change that"
    ))
    .hint("`--dry-run` says what another event would publish")
    .hint(format!(
        "if it is to be published all the same, take away what the CI says: `{without} cairn publish ...`"
    )))
}
