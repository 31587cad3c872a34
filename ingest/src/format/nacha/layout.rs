//! The records of 94 columns, as the rule book lays them out.

use crate::format::columns::layout;

layout! {
    /// 1, the file header.
    file_header 94 {
        RECORD_TYPE 1 - 1 "record type";
        PRIORITY 2 - 3 "priority code";
        DESTINATION 4 - 13 "immediate destination";
        ORIGIN 14 - 23 "immediate origin";
        DATE 24 - 29 "file creation date";
        TIME 30 - 33 "file creation time";
        MODIFIER 34 - 34 "file ID modifier";
        RECORD_SIZE 35 - 37 "record size";
        BLOCKING 38 - 39 "blocking factor";
        FORMAT_CODE 40 - 40 "format code";
        DESTINATION_NAME 41 - 63 "immediate destination name";
        ORIGIN_NAME 64 - 86 "immediate origin name";
        REFERENCE 87 - 94 "reference code";
    }
}

layout! {
    /// 5, the batch header.
    batch_header 94 {
        RECORD_TYPE 1 - 1 "record type";
        CLASS 2 - 4 "service class code";
        COMPANY 5 - 20 "company name";
        DISCRETIONARY 21 - 40 "company discretionary data";
        COMPANY_ID 41 - 50 "company identification";
        SEC 51 - 53 "standard entry class code";
        DESCRIPTION 54 - 63 "company entry description";
        DESCRIPTIVE_DATE 64 - 69 "company descriptive date";
        EFFECTIVE_DATE 70 - 75 "effective entry date";
        SETTLEMENT_DATE 76 - 78 "settlement date";
        STATUS 79 - 79 "originator status code";
        ODFI 80 - 87 "originating DFI identification";
        NUMBER 88 - 94 "batch number";
    }
}

layout! {
    /// 5, the batch header of an IAT batch.
    iat_batch_header 94 {
        RECORD_TYPE 1 - 1 "record type";
        CLASS 2 - 4 "service class code";
        IAT_INDICATOR 5 - 20 "IAT indicator";
        FX_INDICATOR 21 - 22 "foreign exchange indicator";
        FX_REFERENCE_INDICATOR 23 - 23 "foreign exchange reference indicator";
        FX_REFERENCE 24 - 38 "foreign exchange reference";
        DESTINATION_COUNTRY 39 - 40 "ISO destination country code";
        ORIGINATOR_ID 41 - 50 "originator identification";
        SEC 51 - 53 "standard entry class code";
        DESCRIPTION 54 - 63 "company entry description";
        ORIGINATING_CURRENCY 64 - 66 "ISO originating currency code";
        DESTINATION_CURRENCY 67 - 69 "ISO destination currency code";
        EFFECTIVE_DATE 70 - 75 "effective entry date";
        SETTLEMENT_DATE 76 - 78 "settlement date";
        STATUS 79 - 79 "originator status code";
        ODFI 80 - 87 "originating DFI identification";
        NUMBER 88 - 94 "batch number";
    }
}

layout! {
    /// 6, an entry.
    entry 94 {
        RECORD_TYPE 1 - 1 "record type";
        CODE 2 - 3 "transaction code";
        RDFI 4 - 11 "receiving DFI identification";
        CHECK_DIGIT 12 - 12 "check digit";
        ACCOUNT 13 - 29 "DFI account number";
        AMOUNT 30 - 39 "amount";
        INDIVIDUAL_ID 40 - 54 "individual identification number";
        NAME 55 - 76 "individual name";
        DISCRETIONARY 77 - 78 "discretionary data";
        ADDENDA_INDICATOR 79 - 79 "addenda record indicator";
        TRACE 80 - 94 "trace number";
    }
}

layout! {
    /// 6, an entry of a CTX, ATX or TRX batch.
    counted_entry 94 {
        RECORD_TYPE 1 - 1 "record type";
        CODE 2 - 3 "transaction code";
        RDFI 4 - 11 "receiving DFI identification";
        CHECK_DIGIT 12 - 12 "check digit";
        ACCOUNT 13 - 29 "DFI account number";
        AMOUNT 30 - 39 "amount";
        INDIVIDUAL_ID 40 - 54 "identification number";
        ADDENDA_COUNT 55 - 58 "number of addenda records";
        NAME 59 - 74 "receiving company name";
        RESERVED 75 - 76 "reserved";
        DISCRETIONARY 77 - 78 "discretionary data";
        ADDENDA_INDICATOR 79 - 79 "addenda record indicator";
        TRACE 80 - 94 "trace number";
    }
}

layout! {
    /// 6, an entry of an IAT batch.
    iat_entry 94 {
        RECORD_TYPE 1 - 1 "record type";
        CODE 2 - 3 "transaction code";
        RDFI 4 - 11 "receiving DFI identification";
        CHECK_DIGIT 12 - 12 "check digit";
        ADDENDA_COUNT 13 - 16 "number of addenda records";
        RESERVED 17 - 29 "reserved";
        AMOUNT 30 - 39 "amount";
        ACCOUNT 40 - 74 "foreign receiver's account number";
        RESERVED_2 75 - 76 "reserved";
        OFAC_GATEWAY 77 - 77 "gateway operator OFAC indicator";
        OFAC_SECONDARY 78 - 78 "secondary OFAC indicator";
        ADDENDA_INDICATOR 79 - 79 "addenda record indicator";
        TRACE 80 - 94 "trace number";
    }
}

layout! {
    /// 6, an advice of an ADV batch.
    adv_entry 94 {
        RECORD_TYPE 1 - 1 "record type";
        CODE 2 - 3 "transaction code";
        RDFI 4 - 11 "receiving DFI identification";
        CHECK_DIGIT 12 - 12 "check digit";
        ACCOUNT 13 - 27 "DFI account number";
        AMOUNT 28 - 39 "amount";
        ADVICE_ROUTING 40 - 48 "advice routing number";
        FILE_ID 49 - 53 "file identification";
        OPERATOR 54 - 54 "ACH operator data";
        NAME 55 - 76 "individual name";
        DISCRETIONARY 77 - 78 "discretionary data";
        ADDENDA_INDICATOR 79 - 79 "addenda record indicator";
        TRACE 80 - 94 "routing number of ACH operator, day and sequence";
    }
}

layout! {
    /// 7, any addenda.
    addenda 94 {
        RECORD_TYPE 1 - 1 "record type";
        TYPE 2 - 3 "addenda type code";
        REST 4 - 94 "addenda";
    }
}

layout! {
    /// 7/99, a return: the reason, and which entry came back.
    return_addenda 94 {
        RECORD_TYPE 1 - 1 "record type";
        TYPE 2 - 3 "addenda type code";
        REASON 4 - 6 "return reason code";
        ORIGINAL_TRACE 7 - 21 "original entry trace number";
        DATE_OF_DEATH 22 - 27 "date of death";
        ORIGINAL_RDFI 28 - 35 "original receiving DFI identification";
        INFORMATION 36 - 79 "addenda information";
        TRACE 80 - 94 "trace number";
    }
}

layout! {
    /// 7/98, a notification of change.
    change_addenda 94 {
        RECORD_TYPE 1 - 1 "record type";
        TYPE 2 - 3 "addenda type code";
        REASON 4 - 6 "change code";
        ORIGINAL_TRACE 7 - 21 "original entry trace number";
        RESERVED 22 - 27 "reserved";
        ORIGINAL_RDFI 28 - 35 "original receiving DFI identification";
        CORRECTED 36 - 64 "corrected data";
        RESERVED_2 65 - 79 "reserved";
        TRACE 80 - 94 "trace number";
    }
}

layout! {
    /// 7/11 of an IAT entry: the originator.
    originator_addenda 94 {
        RECORD_TYPE 1 - 1 "record type";
        TYPE 2 - 3 "addenda type code";
        NAME 4 - 38 "originator name";
        STREET 39 - 73 "originator street address";
        RESERVED 74 - 87 "reserved";
        ENTRY_SEQUENCE 88 - 94 "entry detail sequence number";
    }
}

layout! {
    /// 8, the batch control.
    batch_control 94 {
        RECORD_TYPE 1 - 1 "record type";
        CLASS 2 - 4 "service class code";
        COUNT 5 - 10 "entry and addenda count";
        HASH 11 - 20 "entry hash";
        DEBITS 21 - 32 "total debits";
        CREDITS 33 - 44 "total credits";
        COMPANY_ID 45 - 54 "company identification";
        AUTHENTICATION 55 - 73 "message authentication code";
        RESERVED 74 - 79 "reserved";
        ODFI 80 - 87 "originating DFI identification";
        NUMBER 88 - 94 "batch number";
    }
}

layout! {
    /// 8, the batch control of an ADV batch.
    adv_batch_control 94 {
        RECORD_TYPE 1 - 1 "record type";
        CLASS 2 - 4 "service class code";
        COUNT 5 - 10 "entry and addenda count";
        HASH 11 - 20 "entry hash";
        DEBITS 21 - 40 "total debits";
        CREDITS 41 - 60 "total credits";
        OPERATOR 61 - 79 "ACH operator data";
        ODFI 80 - 87 "originating DFI identification";
        NUMBER 88 - 94 "batch number";
    }
}

layout! {
    /// 9, the file control.
    file_control 94 {
        RECORD_TYPE 1 - 1 "record type";
        BATCHES 2 - 7 "batch count";
        BLOCKS 8 - 13 "block count";
        COUNT 14 - 21 "entry and addenda count";
        HASH 22 - 31 "entry hash";
        DEBITS 32 - 43 "total debits";
        CREDITS 44 - 55 "total credits";
        RESERVED 56 - 94 "reserved";
    }
}

layout! {
    /// 9, the file control of a file of ADV batches.
    adv_file_control 94 {
        RECORD_TYPE 1 - 1 "record type";
        BATCHES 2 - 7 "batch count";
        BLOCKS 8 - 13 "block count";
        COUNT 14 - 21 "entry and addenda count";
        HASH 22 - 31 "entry hash";
        DEBITS 32 - 51 "total debits";
        CREDITS 52 - 71 "total credits";
        RESERVED 72 - 94 "reserved";
    }
}
