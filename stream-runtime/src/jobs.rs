//! The job types that a process can run.

use std::sync::Arc;

use stream_core::pipeline::JobDefinition;

/// The registered job types.
#[derive(Clone, Default)]
pub struct Jobs {
    definitions: Vec<Arc<dyn JobDefinition>>,
}

impl Jobs {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers one more.
    #[must_use]
    pub fn with(mut self, definition: impl JobDefinition + 'static) -> Self {
        self.definitions.push(Arc::new(definition));
        self
    }

    /// The job type of this name.
    pub fn find(&self, name: &str) -> Option<Arc<dyn JobDefinition>> {
        self.definitions.iter().find(|definition| definition.name() == name).cloned()
    }

    /// All names, for messages.
    pub fn names(&self) -> Vec<&'static str> {
        self.definitions.iter().map(|definition| definition.name()).collect()
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Jobs").field(&self.names()).finish()
    }
}
