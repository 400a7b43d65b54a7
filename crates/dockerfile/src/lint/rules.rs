//! The table of all rules.

use super::buildkit::{
    casing, commands, copy_ignored, definitions, deprecated, expose, from_args, from_platform,
    secrets, stage_names, variables, workdir,
};
use super::practice::{
    apt, apt_flags, caches, credentials, directives, files, layers, order, pins, places, questions,
    upgrades, users,
};
use super::rule::Rule;
use super::science::{cuda, environment, failures, floating, musl, pipes};

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
    &floating::FLOATING_BASE,
    &musl::MUSL_UNDER_NUMBERS,
    &cuda::CUDA_MISMATCH,
    &failures::HIDDEN_FAILURE,
    &pipes::PIPE_HIDES_FAILURE,
    &environment::OUTSIDE_ENVIRONMENT,
    &pins::UNPINNED_PACKAGES,
    &pins::UNLOCKED_INSTALL,
    &upgrades::SYSTEM_UPGRADE,
    &credentials::SECRET_IN_IMAGE,
    &apt::APT_UPDATE_ALONE,
    &apt::APT_LISTS_LEFT,
    &apt_flags::APT_INSTALL_ASKS,
    &apt_flags::APT_RECOMMENDS,
    &questions::APT_IN_SCRIPT,
    &questions::DNF_INSTALL_ASKS,
    &apt_flags::SUDO,
    &users::LAST_USER_IS_ROOT,
    &users::HIGH_USER_ID,
    &caches::PIP_CACHE_LEFT,
    &caches::CONDA_CACHE_LEFT,
    &caches::UV_CACHE_LEFT,
    &caches::APK_CACHE_LEFT,
    &caches::DNF_CACHE_LEFT,
    &order::DEPENDENCIES_AFTER_APPLICATION,
    &layers::LAYER_ONLY_DELETES,
    &layers::LAYER_ONLY_CHANGES_MODES,
    &files::ADD_FOR_FILES,
    &places::COPY_WITHOUT_WORKDIR,
    &places::ENV_USES_ITSELF,
    &directives::UNKNOWN_RULE,
];

/// Finds a rule by its name or one of its aliases, in any case.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.is_called(name))
}
