//! Who takes part.

mod csv;
mod duckdb;
mod flink;
pub(crate) mod kafka;
mod length;
mod limits;

use crate::contestant::Contestant;
use crate::data::Shape;

/// All of them, in the order of the table; those of one place stand together. A new workload is a line here.
pub(crate) fn all() -> Vec<Box<dyn Contestant>> {
    let mut all: Vec<Box<dyn Contestant>> = Vec::new();
    for shape in Shape::ALL {
        let is_web = shape == Shape::Web;
        all.push(Box::new(csv::Csv::new(shape, csv::How::Parallelism(1))));
        all.push(Box::new(csv::Csv::new(shape, csv::How::TwoFiles)));
        if is_web {
            all.push(Box::new(csv::Csv::new(shape, csv::How::Parallelism(2))));
            all.push(Box::new(csv::Csv::new(shape, csv::How::TwoCopies)));
            all.push(Box::new(limits::OfFile::new(shape, limits::Part::Read)));
            all.push(Box::new(limits::OfFile::new(shape, limits::Part::Scan)));
            all.push(Box::new(limits::OfFile::new(shape, limits::Part::Sessions)));
        }
        all.push(Box::new(duckdb::Duckdb::new(shape)));
        all.push(Box::new(flink::Flink::new(shape, flink::Kind::Sql)));
        all.push(Box::new(flink::Flink::new(shape, flink::Kind::DataStream)));
    }
    all.push(Box::new(kafka::ToPostgres::new(1)));
    all.push(Box::new(kafka::ToPostgres::new(2)));
    all.extend(
        [1, 2, 4].map(|taskmanagers| Box::new(kafka::ToPostgres::spread(4, taskmanagers)) as Box<dyn Contestant>),
    );
    all.push(Box::new(limits::Consume::new()));
    all.push(Box::new(limits::Copy));
    for partitions in kafka::PARTITION_COUNTS {
        all.push(Box::new(kafka::ToPostgres::of_partitions(partitions)));
        all.push(Box::new(limits::Consume::of_partitions(partitions)));
    }
    all.extend([1, 10, 100].map(|millions| Box::new(length::Length::new(millions)) as Box<dyn Contestant>));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_places_stand_together() {
        let all = all();
        let names: Vec<&str> = all.iter().map(|one| one.name()).collect();
        let unique: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(unique.len(), names.len());
        let mut places: Vec<&str> = names.iter().filter_map(|name| name.split('/').next()).collect();
        places.dedup();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count, "{names:?}");
    }
}
