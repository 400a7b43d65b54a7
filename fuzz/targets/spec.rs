//! `cairn.toml`: any text, standing alone or taking in another.
//!
//! The parts are separated by a NUL: the spec, and the text of every file it names.
//!
//! - nothing panics or runs away;
//! - a refusal has errors whose places lie in their texts, and they can be shown;
//! - every image of what was accepted can be found by its name.
#![no_main]

use std::collections::BTreeMap;

use cairn_diagnostic::Source;
use cairn_spec::Surroundings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some([text, other]) = cairn_fuzz::texts(data) else {
        return;
    };
    let variables = BTreeMap::from([("v".to_owned(), "1".to_owned())]);
    let surroundings = Surroundings {
        read: &|path| match path {
            "absent.toml" => Err("there is no such file".to_owned()),
            path => Ok(Source::new(path, other)),
        },
        overlay: None,
        variables: &BTreeMap::new(),
        environment: &variables,
    };
    match cairn_spec::read(&Source::new("cairn.toml", text), &surroundings) {
        Ok(stack) => {
            for id in stack.ids() {
                let name = stack.images[id.0].name.to_string();
                assert_eq!(stack.exact(&name), Some(id), "{name}");
            }
        }
        Err(errors) => cairn_fuzz::assert_shown(&errors),
    }
});
