//! The schemas of a learner's settings as JSON, from which Python's settings are generated.

use super::MemoryConfig;
use super::interface::InterfaceConfig;
use crate::backbone::FeedForwardConfig;
use crate::encoder::EncoderConfig;
use crate::mixers::MixerConfig;
use crate::selectivity::SelectivityConfig;
use crate::settings::schema;
use crate::target::TargetConfig;
use serde_json::json;

/// The JSON schemas of each part's kinds, of the regulariser, and of what all learners share.
///
/// Beside JSON Schema's own words, `part` names a part that comes in kinds, and `kinds` holds the schema of each.
pub fn settings_schema() -> String {
    json!({
        "encoder": schema::<EncoderConfig>(),
        "target": schema::<TargetConfig>(),
        "mixer": schema::<MixerConfig>(),
        "feed_forward": schema::<FeedForwardConfig>(),
        "selectivity": schema::<SelectivityConfig>(),
        "interface": schema::<InterfaceConfig>(),
        "learner": schema::<MemoryConfig>(),
    })
    .to_string()
}
