//! The formats from outside: bytes in, records out.

#[path = "formats/whole.rs"]
mod whole;

#[path = "formats/cnab.rs"]
mod cnab;
#[path = "formats/conformance.rs"]
mod conformance;
#[path = "formats/fuzz.rs"]
mod fuzz;
#[path = "formats/corpus.rs"]
mod corpus;
#[path = "formats/generated.rs"]
mod generated;
#[path = "formats/laws.rs"]
mod laws;
#[path = "formats/nacha.rs"]
mod nacha;
#[path = "formats/cobol.rs"]
mod cobol;
#[path = "formats/containers.rs"]
mod containers;
#[path = "formats/ipm.rs"]
mod ipm;
#[path = "formats/own_layout.rs"]
mod own_layout;
#[path = "formats/same.rs"]
mod same;
#[path = "formats/samples.rs"]
mod samples;
#[path = "formats/small.rs"]
mod small;
#[path = "formats/letters.rs"]
mod letters;
