//! An object that goes to the remote while it is made: nothing of it lies in the staging folder.
//!
//! The writer's thread gives pieces, the upload's thread sends them; so many may wait between the two. Each end of this line that goes away ends the
//! other one: without its length and hashes, which come last, a remote keeps nothing of an object.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use vtl_bundle::Stored;
use vtl_remote::{Content, Error, Flow, ObjectName, Streams, verify_or_read_back};

use crate::Line;
use crate::pace::{Confirmed, Pace};
use crate::send::{content_of, interruptible};
use crate::telling::Telling;
use crate::trouble::Trouble;

/// Pieces that wait to be sent: heads of frames, and bodies of at most half a MiB.
const PIECES_AHEAD: usize = 6;

/// The upload has ended, and says elsewhere why.
pub(crate) struct Ended;

/// Where the bytes of an object come from.
pub(crate) struct Spring {
    pieces: mpsc::Sender<Result<Bytes, Error>>,
    made: oneshot::Sender<Content>,
    object: oneshot::Sender<Stored>,
}

/// Where they go.
pub(crate) struct Course {
    name: ObjectName,
    pieces: mpsc::Receiver<Result<Bytes, Error>>,
    made: oneshot::Receiver<Content>,
    object: oneshot::Receiver<Stored>,
}

/// Both ends of an object's way.
pub(crate) fn begin(name: ObjectName) -> (Spring, Course) {
    let (to, pieces) = mpsc::channel(PIECES_AHEAD);
    let (tell, made) = oneshot::channel();
    let (give, object) = oneshot::channel();
    (Spring { pieces: to, made: tell, object: give }, Course { name, pieces, made, object })
}

impl Spring {
    /// The next bytes. It waits while too many are on their way.
    pub(crate) fn write(&mut self, bytes: &Bytes) -> Result<(), Ended> {
        self.pieces.blocking_send(Ok(bytes.clone())).map_err(|_| Ended)
    }

    /// All have come, and this is what they were.
    pub(crate) fn end(self, object: &Stored, content: Content) -> Result<(), Ended> {
        drop(self.pieces);
        self.object.send(object.clone()).map_err(|_| Ended)?;
        self.made.send(content).map_err(|_| Ended)
    }
}

impl Course {
    /// Sends and verifies what comes.
    pub(crate) fn run(
        mut self,
        line: Line<'_>,
        remote: &dyn Streams,
        pace: &dyn Pace,
    ) -> Result<Confirmed, Trouble> {
        let _permit = pace.permit().ok_or(Trouble::Stopped)?;
        let plain = self.name.as_str().rsplit('/').next().unwrap_or_default();
        let watch = Telling::of_streamed(pace, plain);
        let bytes = stream::unfold(self.pieces, async |mut from| Some((from.recv().await?, from))).boxed();
        let flow = Flow { name: &self.name, bytes, made: self.made, watch: &watch, limiter: line.limiter };
        let sent = interruptible(line, pace, remote.stream(flow)).and_then(|receipt| {
            let object = self.object.try_recv().map_err(|_| Trouble::Stopped)?;
            let content = content_of(&object)?;
            let (mode, limiter) = (line.verify, line.limiter);
            let verified = verify_or_read_back(line.remote, &self.name, &content, &receipt, mode, limiter);
            let proof = interruptible(line, pace, verified)?;
            Ok(Confirmed { object, receipt: receipt.to_string(), proof })
        });
        if sent.is_err() {
            watch.abandon(line);
        }
        sent
    }
}
