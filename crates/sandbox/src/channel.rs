//! What the caller and the process inside say to each other: a closed set of messages.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::octets;

/// From inside to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program is about to be executed. `replaced` are the certificate bundles that have a
    /// changed copy over them.
    Ready {
        #[serde(with = "octets::paths")]
        replaced: Vec<PathBuf>,
    },
    /// Comes with a descriptor: the caller's end of the program's terminal.
    Terminal,
    /// A step failed; nothing was or will be run.
    Failed(Failure),
    /// The program ended by itself.
    Exited { code: i32 },
    /// A signal ended the program.
    Signaled { signal: i32 },
}

/// From the caller to the inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Send this signal to the program.
    Signal(i32),
}

/// One end of a connection that keeps messages apart and can carry a descriptor with each.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
}

/// No message comes near this; a longer one would be cut and then refused.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

impl Channel {
    pub(crate) fn pair() -> Result<(Channel, Channel), Errno> {
        let kind = SocketType::SEQPACKET;
        let (a, b) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Channel { socket: a }, Channel { socket: b }))
    }

    pub(crate) fn over(socket: OwnedFd) -> Channel {
        Channel { socket }
    }

    pub(crate) fn send<M: Serialize>(&self, message: &M) -> Result<(), Errno> {
        self.send_bytes(&encode(message)?, &mut SendAncillaryBuffer::new(&mut []))
    }

    pub(crate) fn send_with<M: Serialize>(
        &self,
        message: &M,
        fd: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [fd];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(Errno::NOBUFS);
        }
        self.send_bytes(&encode(message)?, &mut ancillary)
    }

    fn send_bytes(
        &self,
        bytes: &[u8],
        ancillary: &mut SendAncillaryBuffer<'_, '_, '_>,
    ) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| {
            sendmsg(
                &self.socket,
                &[IoSlice::new(bytes)],
                ancillary,
                SendFlags::NOSIGNAL,
            )
        })
        .map(drop)
    }

    /// Waits for the next message; `None` when the other end is closed.
    pub(crate) fn receive<M: DeserializeOwned>(
        &self,
    ) -> Result<Option<(M, Option<OwnedFd>)>, Errno> {
        let mut bytes = vec![0u8; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            recvmsg(
                &self.socket,
                &mut parts,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )
        });
        let length = match received {
            Ok(message) => message.bytes,
            Err(Errno::CONNRESET) => 0,
            Err(errno) => return Err(errno),
        };
        if length == 0 {
            return Ok(None);
        }
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let message = serde_json::from_slice(&bytes[..length]).map_err(|_| Errno::BADMSG)?;
        Ok(Some((message, fd)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, Errno> {
    serde_json::to_vec(message).map_err(|_| Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Step;

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (a, b) = Channel::pair().unwrap();
        let failed = Report::Failed(Failure::new(Step::Overlay, "x", Errno::INVAL));
        let ready = Report::Ready {
            replaced: vec!["etc/ssl/cert.pem".into()],
        };
        a.send(&ready).unwrap();
        a.send(&failed).unwrap();
        assert_eq!(b.receive::<Report>().unwrap().unwrap().0, ready);
        assert_eq!(b.receive::<Report>().unwrap().unwrap().0, failed);
        drop(a);
        assert!(b.receive::<Report>().unwrap().is_none());
    }

    #[test]
    fn a_descriptor_travels_with_its_message() {
        let (a, b) = Channel::pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        a.send_with(&Report::Terminal, writer.as_fd()).unwrap();
        drop(writer);
        let (report, fd) = b.receive::<Report>().unwrap().unwrap();
        assert_eq!(report, Report::Terminal);
        rustix::io::write(fd.unwrap(), b"x").unwrap();
        let mut byte = [0];
        assert_eq!(rustix::io::read(reader, &mut byte).unwrap(), 1);
    }

    #[test]
    fn the_other_kind_of_message_is_refused() {
        let (a, b) = Channel::pair().unwrap();
        a.send(&Order::Signal(15)).unwrap();
        assert_eq!(b.receive::<Report>().unwrap_err(), Errno::BADMSG);
    }
}
