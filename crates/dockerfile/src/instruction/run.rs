//! `RUN`: the command and the flags that shape its sandbox.

use super::{Fault, InstructionError, command_line};
use crate::ast::{Run, RunNetwork, RunSecurity, Spanned, Word};
use crate::device::Device;
use crate::flags::{FlagKind, FlagSpec, Flags};
use crate::mount::MountFlag;
use crate::tree::Node;

const RUN_FLAGS: FlagSpec = &[
    ("device", FlagKind::List),
    ("mount", FlagKind::List),
    ("network", FlagKind::Text),
    ("security", FlagKind::Text),
];

pub(super) fn run(node: &Node) -> Result<Run, Fault> {
    let flags = Flags::check(&node.flags, RUN_FLAGS)?;
    Ok(Run {
        command: command_line(node),
        heredocs: node.heredocs.clone(),
        mounts: flags
            .list("mount")
            .into_iter()
            .map(mount)
            .collect::<Result<_, _>>()?,
        network: flags.text("network").map(network).transpose()?,
        security: flags.text("security").map(security).transpose()?,
        devices: flags
            .list("device")
            .into_iter()
            .map(device)
            .collect::<Result<_, _>>()?,
    })
}

fn mount(word: Word) -> Result<MountFlag, Fault> {
    let span = word.span;
    MountFlag::parse(word).map_err(|error| InstructionError::Mount(error).at(span))
}

fn device(word: Word) -> Result<Spanned<Device>, Fault> {
    match Device::parse(word.as_str()) {
        Ok(device) => Ok(Spanned::new(device, word.span)),
        Err(error) => Err(InstructionError::Device(error).at(word.span)),
    }
}

fn network(word: Word) -> Result<Spanned<RunNetwork>, Fault> {
    let mode = match word.as_str() {
        "default" => RunNetwork::Default,
        "none" => RunNetwork::None,
        "host" => RunNetwork::Host,
        _ => return Err(InstructionError::Network(word.value).at(word.span)),
    };
    Ok(Spanned::new(mode, word.span))
}

fn security(word: Word) -> Result<Spanned<RunSecurity>, Fault> {
    let mode = match word.as_str() {
        "sandbox" => RunSecurity::Sandbox,
        "insecure" => RunSecurity::Insecure,
        _ => return Err(InstructionError::Security(word.value).at(word.span)),
    };
    Ok(Spanned::new(mode, word.span))
}
