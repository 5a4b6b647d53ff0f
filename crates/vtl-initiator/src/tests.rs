//! A target of typed bytes on a loopback socket: what it sends is written out here, and so is what it must be sent.

use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;

/// A PDU as a target sends it.
fn pdu(opcode: u8, flags: u8, fields: &[(usize, u32)], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    (bytes[0], bytes[1], bytes[7]) = (opcode, flags, data.len() as u8);
    for (at, value) in fields {
        bytes[*at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The next PDU that the initiator sends: header and data.
fn take(socket: &mut TcpStream) -> (Vec<u8>, Vec<u8>) {
    let mut header = vec![0; 48];
    socket.read_exact(&mut header).unwrap();
    let length = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
    let mut data = vec![0; length.next_multiple_of(4)];
    socket.read_exact(&mut data).unwrap();
    data.truncate(length);
    (header, data)
}

/// Logs the initiator in at a target that then does `script`.
fn session<T: Send + 'static>(
    keys: &'static [u8],
    script: impl FnOnce(&mut TcpStream) -> T + Send + 'static,
) -> (Initiator, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let target = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let (login, text) = take(&mut socket);
        assert_eq!((login[0], login[1]), (0x43, 0x87));
        assert!(text.starts_with(b"InitiatorName=iqn."), "{text:?}");
        socket.write_all(&pdu(0x23, 0x87, &[(24, 1), (28, 1), (32, 32)], keys)).unwrap();
        script(&mut socket)
    });
    let session = Initiator::login(address, "iqn.2026-11.test.example:t", 1, 1).unwrap();
    (session, target)
}

/// A SCSI response with CHECK CONDITION and fixed sense of this key.
fn check(tag: u32, key: u8) -> Vec<u8> {
    let mut sense = vec![0, 18, 0x70, 0, key];
    sense.resize(20, 0);
    pdu(0x21, 0x80, &[(0, 0x2180_0002), (4, 20), (16, tag), (24, 2), (32, 32)], &sense)
}

fn good(tag: u32) -> Vec<u8> {
    pdu(0x21, 0x80, &[(16, tag), (24, 2), (32, 32)], &[])
}

const READ: [u8; 6] = [0x08, 0, 0, 0, 16, 0];
const WRITE: [u8; 6] = [0x0a, 0, 0, 0, 8, 0];

#[test]
fn a_login_that_is_refused_is_told_with_class_and_detail() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let target = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        take(&mut socket);
        socket.write_all(&pdu(0x23, 0x87, &[(36, 0x0203_0000)], &[])).unwrap();
    });
    let refused = Initiator::login(address, "iqn.2026-11.test.example:none", 1, 1).err().unwrap();
    assert_eq!(refused.to_string(), "login refused: class 0x2 detail 0x3");
    target.join().unwrap();
}

#[test]
fn data_comes_together_by_its_offsets_and_a_unit_attention_is_passed_over() {
    let (mut session, target) = session(b"", |socket| {
        assert_eq!(take(socket).0[32..38], READ);
        socket.write_all(&check(1, 6)).unwrap();
        assert_eq!(take(socket).0[32..38], READ);
        socket.write_all(&pdu(0x25, 0, &[(16, 2), (32, 32), (40, 0)], b"first ha")).unwrap();
        socket.write_all(&pdu(0x25, 0x81, &[(16, 2), (24, 3), (32, 32), (40, 8)], b"lf, rest")).unwrap();
    });
    assert_eq!(session.run_good(&READ, 16).unwrap(), b"first half, rest");
    target.join().unwrap();
}

#[test]
fn a_write_is_sent_in_the_pieces_that_the_target_takes_and_those_that_it_asks_for() {
    let keys = b"ImmediateData=No\0InitialR2T=Yes\0MaxRecvDataSegmentLength=512\0";
    let (mut session, target) = session(keys, |socket| {
        let (command, immediate) = take(socket);
        assert_eq!((command[1], immediate.len()), (0xa1, 0));
        assert_eq!(command[20..24], [0, 0, 4, 0]);
        socket.write_all(&pdu(0x31, 0x80, &[(16, 1), (20, 77), (32, 32), (40, 0), (44, 1024)], &[])).unwrap();
        let pieces: Vec<_> = (0..2).map(|_| take(socket)).collect();
        socket.write_all(&good(1)).unwrap();
        pieces
    });
    session.write_good(&WRITE, &[0x5a; 1024]).unwrap();
    let pieces = target.join().unwrap();
    for (number, (header, data)) in pieces.iter().enumerate() {
        assert_eq!((header[0], header[1]), (0x05, if number == 1 { 0x80 } else { 0 }));
        assert_eq!(header[20..24], [0, 0, 0, 77]);
        assert_eq!(header[36..44], [0, 0, 0, number as u8, 0, 0, 2 * number as u8, 0]);
        assert_eq!(data, &[0x5a; 512]);
    }
}

#[test]
fn a_target_that_asks_for_more_than_there_is_gets_nothing() {
    let (mut session, target) = session(b"ImmediateData=No\0InitialR2T=Yes\0", |socket| {
        take(socket);
        let beyond = [(16, 1), (20, 77), (32, 32), (40, 4), (44, u32::MAX)];
        socket.write_all(&pdu(0x31, 0x80, &beyond, &[])).unwrap();
    });
    let told = session.write_good(&WRITE, &[1; 8]).unwrap_err().to_string();
    assert_eq!(told, "the target asks for data beyond the command");
    target.join().unwrap();
}

#[test]
fn data_beyond_what_was_asked_for_and_segments_beyond_what_we_take_end_the_session() {
    for (answer, told) in [
        (
            pdu(0x25, 0x81, &[(16, 1), (24, 2), (32, 32), (40, u32::MAX)], b"12345678"),
            "the target sends data that is not the command's next, or answers another one",
        ),
        (
            pdu(0x25, 0x81, &[(16, 9), (24, 2), (32, 32), (40, 0)], b"12345678"),
            "the target sends data that is not the command's next, or answers another one",
        ),
        (
            pdu(0x25, 0x81, &[(16, 1), (24, 2), (32, 32), (40, 8)], b"12345678"),
            "the target sends data that is not the command's next, or answers another one",
        ),
        (
            pdu(0x21, 0x80, &[(0, 0x2180_0100), (16, 1), (24, 2), (32, 32)], &[]),
            "the target could not complete a command",
        ),
        (
            pdu(0x25, 0x81, &[(4, 0x00ff_ffff)], &[]),
            "the target sends 16777215 bytes at once, or headers behind the first",
        ),
    ] {
        let (mut session, target) = session(b"", move |socket| {
            take(socket);
            socket.write_all(&answer).unwrap();
        });
        assert_eq!(session.run(&READ, 16).unwrap_err().to_string(), told);
        target.join().unwrap();
    }
}

#[test]
fn a_ping_is_answered_with_its_own_tag() {
    let (mut session, target) = session(b"", |socket| {
        take(socket);
        let ping = [(16, 0xffff_ffff), (20, 0x1234), (24, 2), (32, 32)];
        socket.write_all(&pdu(0x20, 0x80, &ping, &[])).unwrap();
        let (pong, _) = take(socket);
        socket.write_all(&good(1)).unwrap();
        pong
    });
    session.run_good(&[0; 6], 0).unwrap();
    let pong = target.join().unwrap();
    assert_eq!(pong[..2], [0x40, 0x80]);
    assert_eq!(pong[16..24], [0xff, 0xff, 0xff, 0xff, 0, 0, 0x12, 0x34]);
}

#[test]
fn sense_tells_its_key_and_a_filemark_also_when_it_is_cut_short() {
    let ended = |sense: &[u8]| Ended { tag: 1, status: 2, sense: sense.to_vec(), received: 0 };
    assert_eq!((ended(&[0x70, 0, 0x83]).sense_key(), ended(&[0x70, 0, 0x83]).filemark()), (3, true));
    assert_eq!((ended(&[0x70]).sense_key(), ended(&[]).filemark()), (0, false));
}

#[test]
fn a_cdb_that_fits_into_no_header_is_not_sent() {
    let (mut session, target) = session(b"", |_| ());
    assert_eq!(
        session.start_read(&[0; 17], 0).unwrap_err().to_string(),
        "a CDB of 17 bytes fits into no header"
    );
    target.join().unwrap();
}
