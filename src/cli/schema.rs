//! `schema`: the form of a launch record, for other programs.

use clap::Args;

use crate::cli::ui::Ui;
use crate::error::Result;
use crate::launch::record::SCHEMA;

const EXAMPLES: &str = "\
Examples:
  counterfoil schema > launch.schema.json
  python3 -m jsonschema -i releases/llama/launch.json launch.schema.json";

/// Print the JSON Schema (draft 2020-12) of a launch record.
///
/// It says what a record looks like. Whether one holds is for `counterfoil measure --record`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self, ui: &Ui) -> Result<()> {
        ui.answer(SCHEMA)
    }
}
