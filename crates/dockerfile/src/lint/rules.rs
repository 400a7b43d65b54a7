//! The table of all rules.

use super::buildkit::{
    casing, commands, copy_ignored, definitions, deprecated, expose, from_args, from_platform,
    secrets, stage_names, variables, workdir,
};
use super::rule::Rule;

/// All rules, in the order in which findings at one place are listed.
pub static RULES: &[&Rule] = &[
    &deprecated::NO_EMPTY_CONTINUATION,
    &casing::STAGE_NAME_CASING,
    &casing::FROM_AS_CASING,
    &deprecated::MAINTAINER_DEPRECATED,
    &definitions::INVALID_DEFINITION_DESCRIPTION,
    &stage_names::RESERVED_STAGE_NAME,
    &stage_names::DUPLICATE_STAGE_NAME,
    &casing::CONSISTENT_INSTRUCTION_CASING,
    &from_args::INVALID_DEFAULT_ARG_IN_FROM,
    &from_args::UNDEFINED_ARG_IN_FROM,
    &from_args::REDUNDANT_TARGET_PLATFORM,
    &from_platform::FROM_PLATFORM_FLAG_CONST_DISALLOWED,
    &from_platform::INVALID_BASE_IMAGE_PLATFORM,
    &variables::UNDEFINED_VAR,
    &deprecated::LEGACY_KEY_VALUE_FORMAT,
    &secrets::SECRETS_USED_IN_ARG_OR_ENV,
    &workdir::WORKDIR_RELATIVE_PATH,
    &copy_ignored::COPY_IGNORED_FILE,
    &commands::MULTIPLE_INSTRUCTIONS_DISALLOWED,
    &commands::JSON_ARGS_RECOMMENDED,
    &expose::EXPOSE_PROTO_CASING,
    &expose::EXPOSE_INVALID_FORMAT,
];

/// Finds a rule by its name or one of its aliases, in any case.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.is_called(name))
}
