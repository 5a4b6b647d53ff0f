//! Text Requests in the full feature phase (RFC 7143, 11.10 and 11.11). One exchange at a time.
//!
//! ```text
//!        first request            text complete               last piece
//! Idle ---------------> Collecting ------------> Answering ----------------> Idle
//!                         |    ^                   |     ^
//!                         +----+ C                 +-----+ more pieces: C, asked for by empty requests
//! ```
//! A request with the reserved transfer tag starts over, whatever was open.

use crate::discovery::{self, Asker};
use crate::framing::Frame;
use crate::login::LoggedIn;
use crate::pdu::{RESERVED_TAG, RejectReason, TextRequest, TextResponse};
use crate::session::Session;
use crate::text::{Assembler, Outgoing};
use crate::transmit::Reply;

/// The transfer tag of an open exchange. There is one at a time, so one tag is enough.
const EXCHANGE_TAG: u32 = 1;

#[derive(Debug, Default)]
pub(crate) enum TextExchange {
    #[default]
    Idle,
    Collecting(Assembler),
    Answering(Outgoing),
}

impl Session {
    /// A request whose turn it is.
    pub(crate) fn text_request(&mut self, request: &TextRequest, frame: &Frame) {
        match self.text_step(request, &frame.data) {
            Ok(reply) => self.out.reply(reply),
            Err(reason) => {
                self.text = TextExchange::Idle;
                self.reject(&frame.header, reason);
            }
        }
    }

    fn text_step(&mut self, request: &TextRequest, data: &[u8]) -> Result<Reply, RejectReason> {
        if request.last && request.continues {
            return Err(RejectReason::InvalidPduField);
        }
        if request.transfer_tag == RESERVED_TAG {
            self.text = TextExchange::Collecting(Assembler::new(self.portal.limits.max_text_bytes as usize));
        } else if request.transfer_tag != EXCHANGE_TAG {
            return Err(RejectReason::InvalidPduField);
        }
        match core::mem::take(&mut self.text) {
            TextExchange::Idle => Err(RejectReason::ProtocolError),
            TextExchange::Collecting(assembler) => self.collect(assembler, request, data),
            TextExchange::Answering(_) if !data.is_empty() => Err(RejectReason::ProtocolError),
            TextExchange::Answering(answer) => Ok(self.answer_piece(answer, request)),
        }
    }

    fn collect(
        &mut self,
        mut assembler: Assembler,
        request: &TextRequest,
        data: &[u8],
    ) -> Result<Reply, RejectReason> {
        let complete = assembler.push(data, request.continues).map_err(|_| RejectReason::InvalidPduField)?;
        let Some(text) = complete else {
            self.text = TextExchange::Collecting(assembler);
            return Ok(text_reply(request, false, false, alloc::vec::Vec::new()));
        };
        let Some(login) = &self.login else { return Err(RejectReason::ProtocolError) };
        let LoggedIn { initiator, kind, .. } = login;
        let asker = Asker { portal: &self.portal, initiator, kind, local_address: &self.local_address };
        let answer =
            discovery::answer(asker, &mut self.params, &text).map_err(|_| RejectReason::InvalidPduField)?;
        self.apply_params();
        Ok(self.answer_piece(Outgoing::new(answer), request))
    }

    fn answer_piece(&mut self, mut answer: Outgoing, request: &TextRequest) -> Reply {
        let piece = answer.next(self.params.max_recv_theirs as usize);
        let last = request.last && !piece.continues;
        if !last {
            self.text = match piece.continues {
                true => TextExchange::Answering(answer),
                // Everything is said, but the initiator may want to say more.
                false => TextExchange::Collecting(Assembler::new(self.portal.limits.max_text_bytes as usize)),
            };
        }
        text_reply(request, last, piece.continues, piece.data)
    }
}

fn text_reply(request: &TextRequest, last: bool, continues: bool, data: alloc::vec::Vec<u8>) -> Reply {
    let transfer_tag = if last { RESERVED_TAG } else { EXCHANGE_TAG };
    Reply::Text(TextResponse { last, continues, task_tag: request.task_tag, transfer_tag }, data.into())
}
