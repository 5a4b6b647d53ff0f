//! The tape drive (SSC-4): one cartridge at a time, one command at a time.
//!
//! Who does what: [`commands`] says what a CDB means, [`bay`] whether a cartridge is there and ready,
//! [`deck`] reads, writes and moves it, [`losses`] knows who is to hear of what was lost, [`position`],
//! [`density`], [`attributes`], [`modes`] and [`logs`] make the pages. What drives share with other devices is in [`crate::spc`].
//!
//! The owner (one thread) calls [`TapeDrive::insert`] and [`TapeDrive::eject`] when the library moves a
//! cartridge, and [`LogicalUnit::execute`] for each command. A crash of the process loses what was not made
//! durable, and only that: the drive holds no data of its own. Which points are durable is
//! `docs/semantics.md`; `docs/scsi-drive.md` is the drive's manual.

mod alerts;
mod attributes;
mod bay;
mod commands;
mod deck;
mod density;
mod logs;
mod losses;
#[cfg(test)]
mod model;
mod modes;
mod position;
mod tally;
#[cfg(test)]
mod test_medium;
#[cfg(test)]
mod tests;

use alloc::{string::String, vec::Vec};

use bytes::Bytes;

use self::{
    alerts::{Alert, Alerts},
    bay::{Bay, Event},
    commands::{AttributeService, LoadRequest, PositionForm, TapeCommand, TapeOp},
    deck::{Blocks, Buffered, Deck, Halt, MAX_READ_BYTES, Shape, Target},
    density::Fit,
    losses::Losses,
    modes::{HeaderRequest, Settings},
};
pub use self::{
    bay::State,
    tally::{Tally, Totals},
};
use crate::{
    command::{Command, DataIn, InitiatorPort, Instant, NexusId, Reply, Status},
    medium::Medium,
    persist::Persist,
    personality::DriveProfile,
    sense::{Check, Sense},
    spc::{
        Common, Device, Identity, LogParameter, ModeHeader, ModeSelect, PageCode, Row, execute,
        wire::{len32, padded},
    },
    unit::{LogicalUnit, Reset, UnitAttention, Vitals},
};

/// A tape drive. `M`: its cartridges; `P`: where saved mode pages and reservations go.
#[derive(Debug)]
pub struct TapeDrive<M, P> {
    common: Common<P>,
    profile: DriveProfile,
    bay: Bay<M>,
    settings: Settings,
    tally: Tally,
    alerts: Alerts,
    /// Data that a host believes written was lost, and not all who are to hear of it have.
    losses: Losses,
    /// MODE SELECT failed because earlier data was lost: its error is a deferred one.
    select_met_loss: bool,
    /// Whose command is running.
    asking: NexusId,
}

/// What `drive ls` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveStatus {
    /// Empty, unloaded or loaded.
    pub state: State,
    /// Bar code of the cartridge.
    pub label: Option<String>,
    /// Logical objects before the position; 0 unless loaded.
    pub block: u64,
    /// Filemarks before the position; 0 unless loaded.
    pub file: u64,
    /// Partition.
    pub partition: u8,
}

/// A cartridge that the drive did not take, and why.
#[derive(Debug)]
pub struct InsertRefused<M> {
    /// It comes back.
    pub medium: M,
    /// The reason.
    pub why: InsertFault,
}

/// Why a cartridge was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertFault {
    /// There is one in the drive.
    Occupied,
    /// The drive cannot read this kind.
    Incompatible,
    /// It could not be positioned at its beginning.
    LoadFailed,
}

/// Why a cartridge did not come out; it is still in the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectFault {
    /// There is none.
    Empty,
    /// Its data could not be made durable. Who wrote it hears of it; what was lost is lost, and a second try
    /// may succeed.
    NotDurable(Check),
}

impl<M: Medium, P: Persist> TapeDrive<M, P> {
    /// A drive as after power on, empty. `profile`: of the personality that `identity` was made from.
    #[must_use]
    pub fn new(identity: Identity, profile: DriveProfile, persist: P) -> Self {
        let max_block = profile.max_block.clamp(1, density::LARGEST_BLOCK);
        Self {
            common: Common::new(identity, modes::pages(), persist),
            profile: DriveProfile { max_block, ..profile },
            bay: Bay::Empty,
            settings: Settings::default(),
            tally: Tally::default(),
            alerts: Alerts::default(),
            losses: Losses::default(),
            select_met_loss: false,
            asking: NexusId(0),
        }
    }

    /// Puts a cartridge in; it is ready at once, at its beginning, and every initiator hears 28/00.
    ///
    /// # Errors
    /// The cartridge comes back with the reason.
    pub fn insert(&mut self, mut medium: M) -> Result<(), InsertRefused<M>> {
        let refused = |medium, why| Err(InsertRefused { medium, why });
        if self.bay.state().after(Event::Insert).is_none() {
            return refused(medium, InsertFault::Occupied);
        }
        if density::fit(&self.profile, medium.facts().kind) == Fit::Refused {
            return refused(medium, InsertFault::Incompatible);
        }
        if medium.locate_object(0).is_err() {
            return refused(medium, InsertFault::LoadFailed);
        }
        self.bay = Bay::Loaded(Deck::new(medium));
        self.alerts.clear();
        self.tally.begin_mount();
        self.common.attention(UnitAttention::MediumChanged, None);
        Ok(())
    }

    /// Takes the cartridge out, when all its data is durable. Prevention of removal is the owner's to ask
    /// for: [`Self::is_prevented`].
    ///
    /// # Errors
    /// The cartridge stays.
    pub fn eject(&mut self) -> Result<M, EjectFault> {
        if self.bay.state() == State::Empty {
            return Err(EjectFault::Empty);
        }
        self.keep_or_remember().map_err(EjectFault::NotDurable)?;
        self.take_out().ok_or(EjectFault::Empty)
    }

    /// Whether an initiator prevents removal.
    #[must_use]
    pub fn is_prevented(&self) -> bool {
        self.common.removal_prevented()
    }

    /// Makes what was written durable, for a clean stop.
    ///
    /// # Errors
    /// What went wrong; who wrote it hears of it, too.
    pub fn flush(&mut self) -> Result<(), Check> {
        self.keep_or_remember()
    }

    /// What `drive ls` shows.
    #[must_use]
    pub fn status(&self) -> DriveStatus {
        let position = self.bay.loaded().map(Deck::position).unwrap_or_default();
        DriveStatus {
            state: self.bay.state(),
            label: self.bay.deck().map(|deck| deck.identity().label.clone()),
            block: position.object,
            file: position.file,
            partition: 0,
        }
    }

    /// Empty, unloaded or loaded.
    #[must_use]
    pub const fn state(&self) -> State {
        self.bay.state()
    }

    /// The cartridge, for what the owner wants to know of it.
    #[must_use]
    pub fn medium(&self) -> Option<&M> {
        self.bay.deck().map(Deck::medium)
    }

    /// The cartridge, for what the owner changes in it while it is in the drive (the write-protect switch).
    pub fn medium_mut(&mut self) -> Option<&mut M> {
        self.bay.deck_mut().map(Deck::medium_mut)
    }

    /// What the drive has counted.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether data compression is enabled (DCE of page 0Fh).
    #[must_use]
    pub fn compresses(&self) -> bool {
        modes::compresses(self.common.modes())
    }

    /// TapeAlert flags that are raised; flag 1 is the most significant bit.
    #[must_use]
    pub const fn alerts(&self) -> u64 {
        self.alerts.raised()
    }

    /// The engine's state: identity, reservations, the list of units for REPORT LUNS.
    #[must_use]
    pub const fn common(&self) -> &Common<P> {
        &self.common
    }

    /// The engine's state, to change.
    pub const fn common_mut(&mut self) -> &mut Common<P> {
        &mut self.common
    }

    fn take_out(&mut self) -> Option<M> {
        self.bay.state().after(Event::Eject)?;
        self.losses.cartridge_left();
        match core::mem::replace(&mut self.bay, Bay::Empty) {
            Bay::Empty => None,
            Bay::Unloaded(deck) | Bay::Loaded(deck) => Some(deck.into_medium()),
        }
    }

    /// A durable point without a command: what fails is owed to those who wrote.
    fn keep_or_remember(&mut self) -> Result<(), Check> {
        let settled = self.bay.deck_mut().map_or(Ok(()), Deck::settle);
        self.remember(settled)
    }

    fn remember(&mut self, settled: Result<(), Halt>) -> Result<(), Check> {
        let remembered = settled.map_err(|halt| {
            self.note(&halt);
            self.owe(halt.check, None);
            halt.check
        });
        self.follow_buffer(self.buffered());
        remembered
    }

    /// Earlier data is lost. `told`: the nexus whose command met it and ends with that.
    fn owe(&mut self, check: Check, told: Option<NexusId>) {
        let common = &self.common;
        let told = told.and_then(|nexus| common.port(nexus));
        self.losses.add(check, told, |port| common.is_connected(port));
    }

    fn buffered(&self) -> Buffered {
        self.bay.deck().map(Deck::buffered).unwrap_or_default()
    }

    /// Who wrote what is in the buffer: whose command has just run, if there is more in it than `before`; nobody, if it is empty.
    fn follow_buffer(&mut self, before: Buffered) {
        let now = self.buffered();
        if now == Buffered::default() {
            self.losses.settled();
        } else if now != before
            && let Some(port) = self.common.port(self.asking)
        {
            self.losses.wrote(port);
        }
    }

    /// Counts a halt and raises its alert.
    fn note(&mut self, halt: &Halt) {
        match halt.check {
            Check::WriteError { .. } => self.tally.count_write_error(),
            Check::UnrecoveredRead { .. } => self.tally.count_read_error(),
            _ => {}
        }
        if let Some(alert) = halt.alert {
            self.alerts.raise(alert);
        }
    }

    /// The reply for how a command ended.
    fn finish(&mut self, ended: Result<Reply, Halt>) -> Reply {
        ended.unwrap_or_else(|halt| {
            self.note(&halt);
            if halt.deferred {
                self.owe(halt.check, Some(self.asking));
            }
            halt.into_reply()
        })
    }

    fn run_command(&mut self, command: TapeCommand, from: &Command) -> Result<Reply, Halt> {
        let done = |()| Reply::good();
        match command {
            TapeCommand::Rewind => self.ready_deck()?.locate(Target::Object(0)).map(done),
            TapeCommand::FormatMedium => {
                self.refuse_read_only_fit()?;
                self.ready_deck()?.format().map(done)
            }
            TapeCommand::ReadBlockLimits { largest_object: true } => Ok(whole(density::largest_object())),
            TapeCommand::ReadBlockLimits { largest_object: false } => {
                Ok(whole(density::block_limits(self.profile.max_block)))
            }
            TapeCommand::Read(shape) => self.deliver(shape),
            TapeCommand::Verify(shape) => self.read(shape).map(|_| Reply::good()).map_err(Halt::without_data),
            TapeCommand::Write(shape) => self.write(shape, from).map(done),
            TapeCommand::WriteFilemarks { count, immed } => self.write_filemarks(count, immed).map(done),
            TapeCommand::Space { unit, count } => self.ready_deck()?.space(unit, count).map(done),
            TapeCommand::Erase { long } => {
                self.refuse_read_only_fit()?;
                self.ready_deck()?.erase(long).map(done)
            }
            TapeCommand::LoadUnload(request) => self.load_unload(request, from.nexus).map(done),
            TapeCommand::Locate(target) => self.ready_deck()?.locate(target).map(done),
            TapeCommand::ReadPosition { form, allocation } => self.read_position(form, allocation),
            TapeCommand::ReportDensitySupport { of_medium, medium_types, allocation } => {
                let only = if of_medium { Some(self.ready_deck()?.identity().kind) } else { None };
                let bytes = match medium_types {
                    true => density::medium_types(&self.profile, only),
                    false => density::densities(&self.profile, only),
                };
                Ok(Reply::allocated(bytes, allocation))
            }
            TapeCommand::ReadAttribute { service, first, allocation } => {
                Ok(Reply::allocated(self.read_attribute(service, first)?, allocation))
            }
            TapeCommand::WriteAttribute { list_length } => {
                Ok(self.write_attribute(list_length, from).map(done)?)
            }
            TapeCommand::ReadMediaSerialNumber { allocation } => {
                let serial = &self.ready_deck()?.identity().serial;
                Ok(Reply::allocated(media_serial_number(serial), allocation))
            }
        }
    }

    fn read_position(&mut self, form: PositionForm, allocation: usize) -> Result<Reply, Halt> {
        let deck = self.ready_deck()?;
        let report = position::Report { position: deck.position(), buffered: deck.buffered() };
        Ok(match form {
            PositionForm::Short => whole(report.short()),
            PositionForm::Long => whole(report.long()),
            PositionForm::Extended => Reply::allocated(report.extended(), allocation),
        })
    }

    fn read_attribute(&mut self, service: AttributeService, first: u16) -> Result<Vec<u8>, Check> {
        let identity = self.common.identity();
        let drive = attributes::Facts {
            alerts: &self.alerts,
            mount: self.tally.mount,
            vendor: identity.vendor(),
            serial: identity.serial(),
        };
        attributes::read(self.bay.ready()?, &drive, service, first)
    }

    fn write_attribute(&mut self, list_length: usize, from: &Command) -> Result<(), Check> {
        if list_length > attributes::MAX_LIST_BYTES {
            return Err(Check::cdb(10));
        }
        let list = from.parameter_list(list_length);
        if list.len() < list_length {
            return Err(Check::DataPhaseError);
        }
        attributes::write(self.ready_deck()?, &list)
    }

    fn ready_deck(&mut self) -> Result<&mut Deck<M>, Check> {
        self.bay.ready()
    }

    /// READ: what comes off the tape goes to the host, with an error or without.
    fn deliver(&mut self, shape: Shape) -> Result<Reply, Halt> {
        let ended = self.read(shape);
        let (Ok(data) | Err(Halt { data, .. })) = &ended;
        self.tally.count_delivered(data.iter().map(Bytes::len).sum());
        ended.map(Reply::data)
    }

    fn read(&mut self, shape: Shape) -> Result<DataIn, Halt> {
        self.check_shape(shape)?;
        if let Shape::Fixed { blocks } = shape
            && u64::from(blocks) * u64::from(self.settings.block_length) > MAX_READ_BYTES
        {
            return Err(Check::cdb(2).into());
        }
        let block_length = self.settings.block_length;
        self.bay.ready()?.read(shape, block_length, &mut self.tally)
    }

    fn write(&mut self, shape: Shape, from: &Command) -> Result<(), Halt> {
        self.check_shape(shape)?;
        let (count, length, fixed) = match shape {
            Shape::Variable { length: 0, .. } => return Ok(()),
            Shape::Variable { length, .. } => (1, length, false),
            Shape::Fixed { blocks } => (blocks, self.settings.block_length, true),
        };
        if count == 0 {
            return Ok(());
        }
        self.refuse_read_only_fit()?;
        let blocks = Blocks::new(&from.data_out, count, length, fixed).ok_or(Check::DataPhaseError)?;
        let mode = modes::write_mode(self.common.modes(), self.settings);
        self.bay.ready()?.write(blocks, mode, &mut self.tally)
    }

    /// IMMED asks for status before the marks are durable, which unbuffered mode forbids.
    fn write_filemarks(&mut self, count: u32, immed: bool) -> Result<(), Halt> {
        if immed && !self.settings.buffered {
            return Err(Check::cdb_bit(1, 0).into());
        }
        if count > 0 {
            self.refuse_read_only_fit()?;
        }
        let mode = modes::write_mode(self.common.modes(), self.settings);
        self.bay.ready()?.write_filemarks(count, immed, mode)
    }

    /// FIXED needs a block length; a block must not be larger than the drive takes.
    const fn check_shape(&self, shape: Shape) -> Result<(), Check> {
        match shape {
            Shape::Fixed { .. } if self.settings.block_length == 0 => Err(Check::cdb_bit(1, 0)),
            Shape::Variable { length, .. } if length > self.profile.max_block => Err(Check::cdb(2)),
            Shape::Fixed { .. } | Shape::Variable { .. } => Ok(()),
        }
    }

    /// A generation that this drive only reads.
    fn refuse_read_only_fit(&self) -> Result<(), Check> {
        let kind = self.bay.deck().map(|deck| deck.identity().kind);
        match kind.map(|kind| density::fit(&self.profile, kind)) {
            Some(Fit::ReadOnly) => Err(Check::CannotWriteFormat),
            _ => Ok(()),
        }
    }

    fn load_unload(&mut self, request: LoadRequest, nexus: NexusId) -> Result<(), Halt> {
        let event = match request {
            LoadRequest::Load => Event::Load,
            LoadRequest::Hold | LoadRequest::Unload => Event::Unload,
        };
        let before = self.bay.state();
        if before.after(event).is_none() {
            return Err(Check::MediumNotPresent.into());
        }
        if request == LoadRequest::Unload && before == State::Loaded && self.is_prevented() {
            return Err(Halt::from(Check::RemovalPrevented).raising(Alert::NoRemoval));
        }
        if let Some(deck) = self.bay.deck_mut() {
            deck.locate(Target::Object(0))?;
        }
        self.bay.step(event)?;
        if before == State::Unloaded && event == Event::Load {
            self.common.attention(UnitAttention::MediumChanged, Some(nexus));
        }
        Ok(())
    }

    /// Bytes of Data-Out that the CDB defines.
    fn data_out_wanted(&self, command: TapeCommand) -> u64 {
        match command {
            TapeCommand::Write(Shape::Variable { length, .. }) => u64::from(length),
            TapeCommand::Write(Shape::Fixed { blocks }) => {
                u64::from(blocks) * u64::from(self.settings.block_length)
            }
            TapeCommand::WriteAttribute { list_length } => list_length as u64,
            _ => 0,
        }
    }

    /// Bytes of a WRITE that are not on the tape by INFORMATION of its sense data: the transport reports the same residual.
    fn untaken_bytes(&self, command: TapeCommand, halt: &Halt) -> u64 {
        let unit = match command {
            TapeCommand::Write(Shape::Variable { .. }) => 1,
            TapeCommand::Write(Shape::Fixed { .. }) => u64::from(self.settings.block_length),
            _ => 0,
        };
        let left = halt.check.extras().information.unwrap_or(0);
        u64::try_from(left).unwrap_or(0).saturating_mul(unit)
    }

    /// The density code of the medium, 0 ("default") without one.
    fn density(&self) -> u8 {
        self.bay.deck().map_or(0, |deck| deck.identity().kind.generation.density())
    }

    fn is_write_protected(&self) -> bool {
        let protected = self.bay.deck().is_some_and(|deck| deck.medium().facts().write_protected);
        protected || self.refuse_read_only_fit().is_err()
    }
}

/// Data whose length the CDB does not limit.
fn whole(bytes: Vec<u8>) -> Reply {
    Reply::allocated(bytes, usize::MAX)
}

/// READ MEDIA SERIAL NUMBER: four bytes of length, then blanks up to a multiple of four.
fn media_serial_number(serial: &str) -> Vec<u8> {
    let length = serial.len().next_multiple_of(4);
    let mut bytes = len32(length).to_be_bytes().to_vec();
    bytes.extend(padded(serial, length));
    bytes
}

impl<M: Medium, P: Persist> Device for TapeDrive<M, P> {
    type Op = TapeOp;
    type Store = P;

    fn commands(&self) -> &'static [Row<TapeOp>] {
        commands::ROWS
    }

    fn common(&self) -> &Common<P> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<P> {
        &mut self.common
    }

    fn run(&mut self, op: TapeOp, command: &Command) -> Reply {
        match TapeCommand::parse(op, &command.cdb) {
            Err(check) => check.into(),
            Ok(parsed) => {
                let wanted = self.data_out_wanted(parsed);
                let ended = self.run_command(parsed, command);
                let untaken = ended.as_ref().err().map_or(0, |halt| self.untaken_bytes(parsed, halt));
                self.finish(ended).wanting(wanted.saturating_sub(untaken))
            }
        }
    }

    fn ready(&mut self) -> Result<(), Check> {
        self.bay.ready().map(|_| ())
    }

    fn take_deferred(&mut self, nexus: NexusId) -> Option<Check> {
        let common = &self.common;
        self.losses.take(common.port(nexus), |port| common.is_connected(port))
    }

    fn idle_sense(&mut self) -> Check {
        self.bay.ready().err().unwrap_or(Check::NoSense)
    }

    fn mode_header(&self) -> ModeHeader {
        ModeHeader {
            medium_type: self.bay.deck().map_or(0, |deck| deck.identity().kind.medium_type()),
            device_specific: self.settings.device_specific(self.is_write_protected()),
            block_descriptor: Some(self.settings.block_descriptor(self.density())),
        }
    }

    fn check_mode_select(&self, select: &ModeSelect) -> Result<(), Check> {
        self.settings.selected(select, self.own_density(), self.profile.max_block)?;
        modes::check_compression(select)
    }

    fn apply_mode_select(&mut self, select: &ModeSelect) -> Result<bool, Check> {
        let settings = self.settings.selected(select, self.own_density(), self.profile.max_block)?;
        if let Err(halt) = self.bay.deck_mut().map_or(Ok(()), Deck::settle) {
            self.note(&halt);
            self.select_met_loss = halt.deferred;
            if halt.deferred {
                self.owe(halt.check, Some(self.asking));
            }
            return Err(halt.check);
        }
        modes::link_compression(self.common.modes_mut(), select);
        let changed = settings != self.settings;
        self.settings = settings;
        Ok(changed)
    }

    fn log_pages(&self) -> &[PageCode] {
        logs::PAGES
    }

    fn log_page(&self, page: PageCode) -> Option<Vec<LogParameter>> {
        let sources = logs::Sources {
            tally: &self.tally,
            alerts: &self.alerts,
            pending_alerts: self.alerts.pending(self.asking),
            deck: self.bay.loaded(),
            present: self.bay.deck().is_some(),
            prevented: self.is_prevented(),
            compresses: modes::compresses(self.common.modes()),
        };
        logs::page(page, sources)
    }

    fn reset_log(&mut self, page: Option<PageCode>) -> bool {
        match page {
            Some(PageCode { subpage: 1.., .. }) => false,
            page => self.tally.reset(page.map(|code| code.page)),
        }
    }
}

impl<M: Medium, P: Persist> TapeDrive<M, P> {
    /// The density that MODE SELECT may name: of the medium, or without one the drive's default.
    fn own_density(&self) -> u8 {
        let default = self.profile.densities.iter().find(|row| row.default).map_or(0, |row| row.code);
        self.bay.deck().map_or(default, |_| self.density())
    }

    /// Reading the TapeAlert page clears the flags for the initiator that read it.
    fn show_alerts(&mut self, command: &Command, reply: &Reply) {
        let log_sense = command.cdb.opcode() == 0x4d;
        if log_sense && command.cdb.byte(2) & 0x3f == logs::TAPE_ALERT && reply.status == Status::Good {
            self.alerts.show(command.nexus);
        }
    }
}

impl<M: Medium, P: Persist> LogicalUnit for TapeDrive<M, P> {
    fn execute(&mut self, command: &Command) -> Reply {
        self.asking = command.nexus;
        let before = self.buffered();
        let mut reply = match HeaderRequest::parse(&command.cdb) {
            None => execute(self, command),
            Some(request) => {
                let with_page = Command { cdb: request.with_page(command.cdb), ..command.clone() };
                request.without_page(execute(self, &with_page))
            }
        };
        if core::mem::take(&mut self.select_met_loss) {
            let format = self.common.sense_format();
            reply.sense = reply.sense.map(|sense| Sense::deferred(sense.check(), format));
        }
        self.follow_buffer(before);
        self.show_alerts(command, &reply);
        reply
    }

    fn nexus_opened(&mut self, nexus: NexusId, port: &InitiatorPort) {
        self.common.nexus_opened(nexus, port);
    }

    fn nexus_closed(&mut self, nexus: NexusId) {
        self.common.nexus_closed(nexus);
        self.alerts.forget(nexus);
        // A failure is owed to those who wrote.
        let _ = self.keep_or_remember();
    }

    fn reset(&mut self, reset: Reset) {
        // A failure is owed to those who wrote.
        let _ = self.keep_or_remember();
        self.settings = Settings::default();
        self.common.reset(reset);
    }

    fn take_aborted(&mut self) -> Vec<NexusId> {
        self.common.take_aborted()
    }

    fn attention(&mut self, what: UnitAttention, except: Option<NexusId>) {
        self.common.attention(what, except);
    }

    fn wake_at(&self) -> Option<Instant> {
        self.bay.deck().and_then(Deck::due_at)
    }

    fn wake(&mut self, now: Instant) {
        let settled = self.bay.deck_mut().map_or(Ok(()), |deck| deck.settle_due(now));
        // A failure is owed to those who wrote.
        let _ = self.remember(settled);
    }

    fn vitals(&self) -> Vitals {
        let Tally { drive, loads, .. } = self.tally;
        Vitals {
            written_bytes: drive.written_bytes,
            read_bytes: drive.delivered_bytes,
            loads,
            tape_alerts: self.alerts(),
        }
    }
}
