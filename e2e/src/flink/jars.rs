//! Which jars are Flink's: what its distribution has, and the connectors that a user puts into its `lib`.

use localcluster::jvm::JarSet;

/// `flink-dist` is these in one jar; Flink logs through SLF4J, here to log4j 2 as its distribution does.
pub(super) const JARS: JarSet = JarSet {
    name: "apache flink",
    version: "2.2.0",
    folder: "flink",
    size: "140 MB",
    pom: r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>gapwise</groupId>
  <artifactId>apache-flink-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <properties>
    <flink>2.2.0</flink>
    <jdbc>4.0.0-2.0</jdbc>
    <log4j>2.25.2</log4j>
  </properties>
  <dependencies>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-clients</artifactId><version>${flink}</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-connector-base</artifactId><version>${flink}</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-json</artifactId><version>${flink}</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-sql-gateway</artifactId><version>${flink}</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-table-api-java-bridge</artifactId><version>${flink}</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-table-planner-loader</artifactId><version>${flink}</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-table-runtime</artifactId><version>${flink}</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-sql-connector-kafka</artifactId><version>5.0.0-2.2</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-connector-jdbc-core</artifactId><version>${jdbc}</version></dependency>
    <dependency><groupId>org.apache.flink</groupId><artifactId>flink-connector-jdbc-postgres</artifactId><version>${jdbc}</version></dependency>
    <dependency><groupId>org.postgresql</groupId><artifactId>postgresql</artifactId><version>42.7.7</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>${log4j}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>${log4j}</version></dependency>
  </dependencies>
</project>
"#,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_names_the_version_that_is_looked_for() {
        assert!(JARS.pom.contains(&format!("<flink>{}</flink>", JARS.version)));
    }
}
