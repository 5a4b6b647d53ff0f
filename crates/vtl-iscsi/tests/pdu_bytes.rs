//! Every PDU byte by byte, typed from the diagrams of RFC 7143, section 11.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use vtl_iscsi::pdu::{
    AsyncEvent, AsyncMessage, Attribute, DataIn, DataInStatus, DataOut, Header, LoginRequest, LoginResponse,
    LogoutReason, LogoutRequest, LogoutResponse, LogoutResult, NopIn, NopOut, Numbers, Opcode, R2t, Reject,
    RejectReason, Residual, ScsiRequest, ScsiResponse, Snack, TaskFunction, TaskRequest, TaskResponse,
    TextRequest, TextResponse, TmfResponse,
};

/// Twelve rows of four bytes, as the standard draws a basic header segment.
fn rows(rows: [u32; 12]) -> Header {
    let mut bytes = [0xa5; 48];
    for (place, row) in bytes.chunks_mut(4).zip(rows) {
        place.copy_from_slice(&row.to_be_bytes());
    }
    Header::from_bytes(bytes)
}

/// StatSN, ExpCmdSN, MaxCmdSN as most rows below have them.
const NUMBERS: Numbers = Numbers { stat: 0x5150_5150, exp_cmd: 0xe0e1_e2e3, max_cmd: 0xf0f1_f2f3 };

#[test]
fn scsi_command() {
    let bytes = rows([
        0x41a1_0000, // I, opcode 01h; F, W, ATTR simple
        0,
        0x0001_0203,
        0x0405_0607, // LUN
        0x1011_1213, // initiator task tag
        0x2021_2223, // expected data transfer length
        0x3031_3233, // CmdSN
        0x4041_4243, // ExpStatSN
        0x0a01_0203,
        0x0405_0607,
        0x0809_0a0b,
        0x0c0d_0e0f, // CDB
    ]);
    let pdu = ScsiRequest {
        immediate: true,
        last: true,
        read: false,
        write: true,
        attribute: Attribute::Simple,
        lun: 0x0001_0203_0405_0607,
        task_tag: 0x1011_1213,
        expected_len: 0x2021_2223,
        cmd_sn: 0x3031_3233,
        exp_stat_sn: 0x4041_4243,
        cdb: [0x0a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    };
    assert_eq!(ScsiRequest::decode(&bytes), Ok(pdu));
    assert_eq!(pdu.encode(), bytes);
}

#[test]
fn scsi_command_flags() {
    let cases = [
        (0x80, (true, false, false, Attribute::Untagged)),
        (0xc1, (true, true, false, Attribute::Simple)),
        (0x22, (false, false, true, Attribute::Ordered)),
        (0xe3, (true, true, true, Attribute::HeadOfQueue)),
        (0x84, (true, false, false, Attribute::Aca)),
        (0x98, (true, false, false, Attribute::Untagged)), // reserved bits mean nothing
    ];
    for (flags, meaning) in cases {
        let pdu =
            ScsiRequest::decode(&rows([0x0100_0000 | flags << 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])).unwrap();
        assert_eq!((pdu.last, pdu.read, pdu.write, pdu.attribute), meaning);
    }
    for flags in [0x85, 0x86, 0x87, 0x41] {
        assert!(
            ScsiRequest::decode(&rows([0x0100_0000 | flags << 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])).is_err()
        );
    }
}

#[test]
fn scsi_response() {
    for (flags, residual) in
        [(0x82, Residual::Underflow(0x77)), (0x84, Residual::Overflow(0x77)), (0x80, Residual::None)]
    {
        let count = if residual == Residual::None { 0 } else { 0x77 };
        let bytes = rows([
            0x2100_0102 | flags << 16, // opcode 21h; flags; response 01h; status 02h
            0,
            0,
            0,
            0x1011_1213,
            0,
            0x5150_5150,
            0xe0e1_e2e3,
            0xf0f1_f2f3,
            0x0000_0005, // ExpDataSN
            0,
            count,
        ]);
        let pdu = ScsiResponse { task_tag: 0x1011_1213, response: 1, status: 2, exp_data_sn: 5, residual };
        assert_eq!(pdu.encode(NUMBERS), bytes);
        assert_eq!(ScsiResponse::decode(&bytes), pdu);
        assert_eq!(Numbers::of(&bytes), NUMBERS);
    }
}

#[test]
fn task_management() {
    let functions = [
        (1, TaskFunction::AbortTask),
        (2, TaskFunction::AbortTaskSet),
        (3, TaskFunction::ClearAca),
        (4, TaskFunction::ClearTaskSet),
        (5, TaskFunction::LogicalUnitReset),
        (6, TaskFunction::TargetWarmReset),
        (7, TaskFunction::TargetColdReset),
        (8, TaskFunction::TaskReassign),
        (11, TaskFunction::Other(11)),
    ];
    for (code, function) in functions {
        let bytes = rows([
            0x4280_0000 | code << 16,
            0,
            0x0001_0000,
            0,
            0x1011_1213,
            0x2021_2223, // referenced task tag
            0x3031_3233,
            0x4041_4243,
            0x5051_5253, // RefCmdSN
            0,
            0,
            0,
        ]);
        let pdu = TaskRequest {
            immediate: true,
            function,
            lun: 0x0001_0000_0000_0000,
            task_tag: 0x1011_1213,
            referenced_tag: 0x2021_2223,
            cmd_sn: 0x3031_3233,
            exp_stat_sn: 0x4041_4243,
            ref_cmd_sn: 0x5051_5253,
        };
        assert_eq!(TaskRequest::decode(&bytes), pdu);
        assert_eq!(pdu.encode(), bytes);
    }
    let responses = [
        (0, TmfResponse::Complete),
        (1, TmfResponse::TaskDoesNotExist),
        (2, TmfResponse::LunDoesNotExist),
        (3, TmfResponse::TaskStillAllegiant),
        (4, TmfResponse::ReassignNotSupported),
        (5, TmfResponse::NotSupported),
        (6, TmfResponse::AuthorizationFailed),
        (255, TmfResponse::Rejected),
    ];
    for (code, response) in responses {
        let first = 0x2280_0000 | code << 8;
        let bytes = rows([first, 0, 0, 0, 0x1011_1213, 0, 0x5150_5150, 0xe0e1_e2e3, 0xf0f1_f2f3, 0, 0, 0]);
        let pdu = TaskResponse { task_tag: 0x1011_1213, response };
        assert_eq!((pdu.encode(NUMBERS), TaskResponse::decode(&bytes)), (bytes, pdu));
    }
}

#[test]
fn data_out() {
    let bytes = rows([
        0x0580_0000,
        0,
        0x0001_0203,
        0x0405_0607,
        0x1011_1213,
        0x2021_2223, // target transfer tag
        0,
        0x4041_4243,
        0,
        0x5051_5253, // DataSN
        0x6061_6263, // buffer offset
        0,
    ]);
    let pdu = DataOut {
        last: true,
        lun: 0x0001_0203_0405_0607,
        task_tag: 0x1011_1213,
        transfer_tag: 0x2021_2223,
        exp_stat_sn: 0x4041_4243,
        data_sn: 0x5051_5253,
        offset: 0x6061_6263,
    };
    assert_eq!((pdu.encode(), DataOut::decode(&bytes)), (bytes, pdu));
}

#[test]
fn data_in() {
    let plain = rows([
        0x2500_0000,
        0,
        0,
        0,
        0x1011_1213,
        0xffff_ffff, // no target transfer tag
        0,           // StatSN is reserved without S
        0xe0e1_e2e3,
        0xf0f1_f2f3,
        0x5051_5253,
        0x6061_6263,
        0,
    ]);
    let pdu = DataIn {
        last: false,
        status: None,
        task_tag: 0x1011_1213,
        data_sn: 0x5051_5253,
        offset: 0x6061_6263,
    };
    assert_eq!((pdu.encode(NUMBERS), DataIn::decode(&plain)), (plain, pdu));
    let with_status = rows([
        0x2583_0008, // F, U, S; status BUSY
        0,
        0,
        0,
        0x1011_1213,
        0xffff_ffff,
        0x5150_5150,
        0xe0e1_e2e3,
        0xf0f1_f2f3,
        0x5051_5253,
        0x6061_6263,
        0x7071_7273, // residual count
    ]);
    let status = Some(DataInStatus { status: 8, residual: Residual::Underflow(0x7071_7273) });
    let pdu = DataIn { last: true, status, ..pdu };
    assert_eq!((pdu.encode(NUMBERS), DataIn::decode(&with_status)), (with_status, pdu));
}

#[test]
fn r2t() {
    let bytes = rows([
        0x3180_0000,
        0,
        0x0001_0203,
        0x0405_0607,
        0x1011_1213,
        0x2021_2223,
        0x5150_5150,
        0xe0e1_e2e3,
        0xf0f1_f2f3,
        0x5051_5253, // R2TSN
        0x6061_6263, // buffer offset
        0x7071_7273, // desired data transfer length
    ]);
    let pdu = R2t {
        lun: 0x0001_0203_0405_0607,
        task_tag: 0x1011_1213,
        transfer_tag: 0x2021_2223,
        r2t_sn: 0x5051_5253,
        offset: 0x6061_6263,
        len: 0x7071_7273,
    };
    assert_eq!((pdu.encode(NUMBERS), R2t::decode(&bytes)), (bytes, pdu));
}

#[test]
fn async_message() {
    let cases = [
        (AsyncEvent::LogoutRequested { within_s: 5 }, [0x0100_0000, 0x0000_0005]),
        (
            AsyncEvent::ConnectionDropped { cid: 0x0102, time2wait_s: 3, time2retain_s: 4 },
            [0x0200_0102, 0x0003_0004],
        ),
        (AsyncEvent::SessionDropped { time2wait_s: 3, time2retain_s: 4 }, [0x0300_0000, 0x0003_0004]),
    ];
    for (event, [codes, parameters]) in cases {
        let bytes = rows([
            0x3280_0000,
            0,
            0,
            0,
            0xffff_ffff,
            0,
            0x5150_5150,
            0xe0e1_e2e3,
            0xf0f1_f2f3,
            codes,
            parameters,
            0,
        ]);
        let pdu = AsyncMessage { event };
        assert_eq!((pdu.encode(NUMBERS), AsyncMessage::decode(&bytes)), (bytes, Some(pdu)));
    }
}

#[test]
fn text() {
    let bytes = rows([
        0x44c0_0000,
        0,
        0x0001_0203,
        0x0405_0607,
        0x1011_1213,
        0x2021_2223,
        0x3031_3233,
        0x4041_4243,
        0,
        0,
        0,
        0,
    ]);
    let pdu = TextRequest {
        immediate: true,
        last: true,
        continues: true,
        lun: 0x0001_0203_0405_0607,
        task_tag: 0x1011_1213,
        transfer_tag: 0x2021_2223,
        cmd_sn: 0x3031_3233,
        exp_stat_sn: 0x4041_4243,
    };
    assert_eq!((pdu.encode(), TextRequest::decode(&bytes)), (bytes, pdu));
    let bytes = rows([
        0x2440_0000,
        0,
        0,
        0,
        0x1011_1213,
        0x2021_2223,
        0x5150_5150,
        0xe0e1_e2e3,
        0xf0f1_f2f3,
        0,
        0,
        0,
    ]);
    let pdu = TextResponse { last: false, continues: true, task_tag: 0x1011_1213, transfer_tag: 0x2021_2223 };
    assert_eq!((pdu.encode(NUMBERS), TextResponse::decode(&bytes)), (bytes, pdu));
}

#[test]
fn login() {
    let bytes = rows([
        0x4387_0201, // I, opcode 03h; T, CSG 1, NSG 3; version-max 2, version-min 1
        0,
        0x8001_0203,
        0x0405_0607, // ISID, TSIH
        0x1011_1213,
        0x2021_0000, // CID
        0x3031_3233,
        0x4041_4243,
        0,
        0,
        0,
        0,
    ]);
    let pdu = LoginRequest {
        immediate: true,
        transit: true,
        continues: false,
        current_stage: 1,
        next_stage: 3,
        version_max: 2,
        version_min: 1,
        isid: [0x80, 1, 2, 3, 4, 5],
        tsih: 0x0607,
        task_tag: 0x1011_1213,
        cid: 0x2021,
        cmd_sn: 0x3031_3233,
        exp_stat_sn: 0x4041_4243,
    };
    assert_eq!((pdu.encode(), LoginRequest::decode(&bytes)), (bytes, pdu));
    let bytes = rows([
        0x2344_0000, // C, CSG 1
        0,
        0x8001_0203,
        0x0405_0607,
        0x1011_1213,
        0,
        0x5150_5150,
        0xe0e1_e2e3,
        0xf0f1_f2f3,
        0x0207_0000, // status class and detail
        0,
        0,
    ]);
    let pdu = LoginResponse {
        transit: false,
        continues: true,
        current_stage: 1,
        next_stage: 0,
        isid: [0x80, 1, 2, 3, 4, 5],
        tsih: 0x0607,
        task_tag: 0x1011_1213,
        status_class: 2,
        status_detail: 7,
    };
    assert_eq!((pdu.encode(NUMBERS), LoginResponse::decode(&bytes)), (bytes, pdu));
}

#[test]
fn logout() {
    for (code, reason) in [
        (0, LogoutReason::CloseSession),
        (1, LogoutReason::CloseConnection),
        (2, LogoutReason::RemoveForRecovery),
    ] {
        let bytes = rows([
            0x0680_0000 | code << 16,
            0,
            0,
            0,
            0x1011_1213,
            0x2021_0000,
            0x3031_3233,
            0x4041_4243,
            0,
            0,
            0,
            0,
        ]);
        let pdu = LogoutRequest {
            immediate: false,
            reason,
            task_tag: 0x1011_1213,
            cid: 0x2021,
            cmd_sn: 0x3031_3233,
            exp_stat_sn: 0x4041_4243,
        };
        assert_eq!((pdu.encode(), LogoutRequest::decode(&bytes)), (bytes, Ok(pdu)));
    }
    let bytes = rows([
        0x2680_0200,
        0,
        0,
        0,
        0x1011_1213,
        0,
        0x5150_5150,
        0xe0e1_e2e3,
        0xf0f1_f2f3,
        0,
        0x0002_0014, // Time2Wait, Time2Retain
        0,
    ]);
    let result = LogoutResult::RecoveryNotSupported;
    let pdu = LogoutResponse { task_tag: 0x1011_1213, result, time2wait_s: 2, time2retain_s: 20 };
    assert_eq!((pdu.encode(NUMBERS), LogoutResponse::decode(&bytes)), (bytes, pdu));
}

#[test]
fn nop() {
    let bytes = rows([
        0x4080_0000,
        0,
        0x0001_0203,
        0x0405_0607,
        0x1011_1213,
        0x2021_2223,
        0x3031_3233,
        0x4041_4243,
        0,
        0,
        0,
        0,
    ]);
    let pdu = NopOut {
        immediate: true,
        lun: 0x0001_0203_0405_0607,
        task_tag: 0x1011_1213,
        transfer_tag: 0x2021_2223,
        cmd_sn: 0x3031_3233,
        exp_stat_sn: 0x4041_4243,
    };
    assert_eq!((pdu.encode(), NopOut::decode(&bytes)), (bytes, pdu));
    let cases = [
        (NopIn::Echo { task_tag: 0x1011_1213 }, [0x1011_1213, 0xffff_ffff]),
        (NopIn::Ping { transfer_tag: 0x2021_2223 }, [0xffff_ffff, 0x2021_2223]),
    ];
    for (pdu, [task_tag, transfer_tag]) in cases {
        let bytes = rows([
            0x2080_0000,
            0,
            0,
            0,
            task_tag,
            transfer_tag,
            0x5150_5150,
            0xe0e1_e2e3,
            0xf0f1_f2f3,
            0,
            0,
            0,
        ]);
        assert_eq!((pdu.encode(NUMBERS), NopIn::decode(&bytes)), (bytes, pdu));
    }
}

#[test]
fn snack_and_reject() {
    let snack = rows([0x1081_0000, 0, 0, 0, 0xffff_ffff, 0, 0, 0x4041_4243, 0, 0, 0, 1]);
    assert_eq!(Snack::decode(&snack), Ok(Snack { kind: 1, exp_stat_sn: 0x4041_4243 }));
    let reasons = [
        (0x02, RejectReason::DataDigestError),
        (0x03, RejectReason::SnackReject),
        (0x04, RejectReason::ProtocolError),
        (0x05, RejectReason::CommandNotSupported),
        (0x06, RejectReason::TooManyImmediate),
        (0x07, RejectReason::TaskInProgress),
        (0x08, RejectReason::InvalidDataAck),
        (0x09, RejectReason::InvalidPduField),
        (0x0a, RejectReason::LongOperation),
        (0x0c, RejectReason::WaitingForLogout),
    ];
    for (code, reason) in reasons {
        let first = 0x3f80_0000 | code << 8;
        let bytes = rows([first, 0, 0, 0, 0xffff_ffff, 0, 0x5150_5150, 0xe0e1_e2e3, 0xf0f1_f2f3, 0, 0, 0]);
        let pdu = Reject { reason };
        assert_eq!((pdu.encode(NUMBERS), Reject::decode(&bytes)), (bytes, Some(pdu)));
    }
}

#[test]
fn lengths_and_opcodes() {
    let mut header = rows([0x4100_0000, 0x0500_0000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((header.ahs_len(), header.data_len(), header.opcode()), (20, 0, 0x01));
    assert!(header.set_data_len(0x00ff_fffe));
    assert_eq!(header.as_bytes()[4..8], [0x05, 0xff, 0xff, 0xfe]);
    assert!(!header.set_data_len(0x0100_0000));
    assert_eq!(header.data_len(), 0x00ff_fffe, "unchanged");
    let known =
        [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x10, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31];
    for code in 0..0x40 {
        let expected = known.contains(&code) || [0x32, 0x3f].contains(&code);
        assert_eq!(Opcode::from_code(code).map(|o| o as u8), expected.then_some(code));
    }
}
