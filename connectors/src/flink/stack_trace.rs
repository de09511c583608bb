//! What a Java stack trace says, without the stack.

/// What the gateway wraps around Flink's own exceptions.
const WRAPPERS: [&str; 2] = ["SqlGatewayException", "SqlExecutionException"];

/// The messages of a trace's exceptions, outermost first. An exception without words gives its name.
///
/// Of a message of several paragraphs this is the first: behind it a connector lists its options.
pub(super) fn causes(trace: &str) -> Vec<String> {
    let mut exceptions: Vec<Exception> = Vec::new();
    let mut is_message = true;
    for line in trace.lines() {
        let is_frame = line.starts_with("\tat ") || line.starts_with("\t... ");
        if let Some(first) = line.strip_prefix("Caused by: ").or_else(|| exceptions.is_empty().then_some(line)) {
            exceptions.extend(Exception::parse(first));
            is_message = true;
        } else if is_frame || line.trim().is_empty() {
            is_message = false;
        } else if let Some(last) = exceptions.last_mut().filter(|_| is_message) {
            last.message = format!("{} {}", last.message, line.trim()).trim().to_owned();
        }
    }
    // The innermost is Flink's own whatever it is called.
    let innermost = exceptions.len().saturating_sub(1);
    let told = exceptions.into_iter().enumerate().filter(|(at, exception)| *at == innermost || !exception.is_wrapper());
    told.map(|(_, exception)| exception.told()).collect()
}

struct Exception {
    /// Without its package.
    name: String,
    message: String,
}

impl Exception {
    /// Reads `package.Name: message`; none where a line names no exception.
    fn parse(line: &str) -> Option<Self> {
        let (class, message) = line.split_once(':').unwrap_or((line, ""));
        let is_class = class.contains('.') && !class.contains(char::is_whitespace);
        let name = class.rsplit('.').next().filter(|_| is_class)?;
        // An exception made of another one repeats its text.
        let message = message.trim();
        let message = Self::parse(message).map_or_else(|| message.to_owned(), |inner| inner.message);
        Some(Exception { name: name.to_owned(), message })
    }

    fn is_wrapper(&self) -> bool {
        WRAPPERS.contains(&self.name.as_str())
    }

    fn told(self) -> String {
        if self.message.is_empty() { self.name } else { self.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_wraps_around_is_left_out() {
        let trace = "<Exception on server side:\n\
            org.apache.flink.table.gateway.api.utils.SqlGatewayException: \
            org.apache.flink.table.gateway.api.utils.SqlGatewayException: Failed to fetchResults.\n\
            \tat org.apache.flink.table.gateway.rest.handler.FetchResultsHandler.handleRequest(FetchResultsHandler.java:91)\n\
            Caused by: org.apache.flink.table.gateway.service.utils.SqlExecutionException: Failed to execute the operation 479d.\n\
            \t... 1 more\n\
            Caused by: org.apache.flink.table.api.ValidationException: Unable to create a source for reading table 'events'.\n\
            \n\
            Table options are:\n\
            \n\
            'connector'='kafka'\n\
            \tat org.apache.flink.table.factories.FactoryUtil.createDynamicTableSource(FactoryUtil.java:228)\n\
            Caused by: org.apache.flink.table.api.ValidationException: Could not find any factory\n\
            for identifier 'kafka'.\n\
            \t... 7 more\n\
            \n\
            End of exception on server side>";
        assert_eq!(
            causes(trace),
            [
                "Unable to create a source for reading table 'events'.",
                "Could not find any factory for identifier 'kafka'."
            ]
        );
    }

    #[test]
    fn innermost_exception_is_told_even_if_it_is_the_gateway_s() {
        let trace = "x.SqlGatewayException: Failed to fetchResults.\n\
            Caused by: x.SqlExecutionException: Described job 00 does not exist in the cluster.";
        assert_eq!(causes(trace), ["Described job 00 does not exist in the cluster."]);
    }

    #[test]
    fn exception_without_words_gives_its_name() {
        let trace = "java.util.concurrent.ExecutionException: org.apache.kafka.UnknownTopicOrPartitionException: No such topic.\n\
            \tat a.b.c(D.java:1)\nCaused by: java.util.concurrent.TimeoutException\n";
        assert_eq!(causes(trace), ["No such topic.", "TimeoutException"]);
        assert_eq!(causes(""), [""; 0]);
    }
}
