//! Which jars are Kafka's.

use crate::jvm::JarSet;

/// The version of Apache Kafka that is used.
pub const VERSION: &str = "4.1.1";

/// Kafka logs through SLF4J 1.7 and brings no backend of its own with its jars: log4j 2 by this binding.
pub(super) const JARS: JarSet = JarSet {
    name: "apache kafka",
    version: VERSION,
    folder: "kafka",
    size: "43 MB",
    pom: r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>gapwise</groupId>
  <artifactId>apache-kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>4.1.1</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.2</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-core</artifactId>
      <version>2.25.2</version>
    </dependency>
  </dependencies>
</project>
"#,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_names_the_version_that_is_looked_for() {
        assert!(JARS.pom.contains(&format!("<version>{VERSION}</version>")));
    }
}
