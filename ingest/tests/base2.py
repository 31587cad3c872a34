"""Reads a Visa BASE II file with visa-clearing-file-parser, and prints what it read.

Usage: python base2.py FILE. A line a transaction, its fields parted by tabs; of those that a record
behind the first one has, blank where there is no such record.
"""

import sys

from visa_clearing import VisaBaseIIParser

FIELDS = [
    "Transaction Code",
    "Account Number",
    "Account Number Extension",
    "Acquirer Reference Number",
    "Acquirers Business ID",
    "Purchase Date (MMDD)",
    "Destination Amount",
    "Destination Currency Code",
    "Source Amount",
    "Source Currency Code",
    "Merchant Name",
    "Merchant City",
    "Merchant Country Code",
    "Merchant Category Code",
    "Usage Code",
    "Reason Code",
    "Settlement Flag",
    "Authorization Code",
    "POS Entry Mode",
    "Central Processing Date (YDDD)",
    "Card Acceptor ID",
    "Terminal ID",
    "Transaction Identifier",
    "Multiple Clearing Sequence Number",
    "Multiple Clearing Sequence Count",
]

# It counts the line end.
for transaction in VisaBaseIIParser(record_length=169).parse_file(sys.argv[1]):
    print("\t".join(transaction.get(field, "") for field in FIELDS))
