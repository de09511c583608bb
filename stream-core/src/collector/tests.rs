use super::*;
use crate::key_group::hash_key;
use crate::origin::Origin;
use crate::time::EventTime;

#[test]
fn rows_come_in_batches_or_all_at_once() {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
    let write = |collector: &mut Collector| {
        for n in 0..20_000 {
            collector.row(TableIndex::RESULT, 2).bigint(n).text(Some("some text"));
        }
    };
    write(&mut collector);
    let bytes = collector.row_bytes();
    let batches: Vec<_> = collector.take_row_batches().collect();
    assert!(batches.len() > 1 && batches.iter().all(|rows| rows.as_bytes().len() < BATCH_BYTES + 64));
    write(&mut collector);
    let all = collector.take_rows(TableIndex::RESULT).expect("rows");
    assert_eq!((all.rows(), all.as_bytes().len(), collector.row_bytes()), (20_000, bytes, 0));
    assert_eq!(all.as_bytes(), batches.iter().flat_map(|rows| rows.as_bytes()).copied().collect::<Vec<_>>());
}

#[test]
fn rows_of_several_tables_stay_apart() {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
    collector.row(TableIndex(2), 1).bigint(1);
    collector.row(TableIndex::RESULT, 1).bigint(2);
    collector.row(TableIndex(2), 1).bigint(3);
    let mut passed = RowBatch::of(TableIndex(1));
    collector.pass_on(passed.clone());
    passed.row(1).bigint(4);
    collector.pass_on(passed);
    let taken: Vec<_> = collector.take_row_batches().map(|rows| (rows.table().0, rows.rows())).collect();
    assert_eq!(taken, [(1, 1), (0, 1), (2, 2)]);
    assert_eq!(collector.row_bytes(), 0);
}

#[test]
fn flood_of_side_rows_is_sampled_until_the_next_barrier() {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
    let mut offer = |offered: u64| {
        let kept = (0..offered).filter(|_| {
            let row = collector.side_row(TableIndex(1), 1);
            row.is_some_and(|mut row| {
                row.bigint(1);
                true
            })
        });
        let kept = kept.count() as u64;
        collector.on_barrier();
        kept
    };
    assert_eq!(offer(SIDE_ROWS), SIDE_ROWS);
    assert_eq!(offer(SIDE_ROWS + 5 * SIDE_ROW_OF), SIDE_ROWS + 5);
}

#[test]
fn events_since_a_mark_are_all_that_came_later_even_where_batches_filled() {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 3);
    let add = |collector: &mut Collector, keys: std::ops::Range<usize>| {
        for key in keys {
            let (text, origin) = (format!("key-{key}"), Origin::default());
            let (hash, key) = (hash_key(text.as_bytes()), text.as_bytes());
            collector.event(KeyedEvent { hash, time: EventTime(0), count: 1, key, origin });
        }
    };
    for later in [1, 3 * BATCH_EVENTS, 7 * BATCH_EVENTS] {
        add(&mut collector, 0..5000);
        let mark = collector.mark();
        assert_eq!(collector.events_since(&mark).count(), 0);
        add(&mut collector, 10_000..10_000 + later);
        let since: Vec<_> = collector.events_since(&mark).map(|(_, event)| event.key.to_vec()).collect();
        assert_eq!(since.len(), later);
        assert!(since.iter().all(|key| key.len() > b"key-9999".len()), "one came before");
        for (target, batch) in collector.take_all() {
            let owner = |event: KeyedEvent<'_>| {
                event.hash.key_group(MaxParallelism::DEFAULT).subtask(MaxParallelism::DEFAULT, 3)
            };
            assert!(batch.iter().all(|event| owner(event) == target));
        }
    }
}

#[test]
fn every_event_goes_to_the_owner_of_its_key_and_none_is_lost() {
    let max = MaxParallelism::DEFAULT;
    let mut collector = Collector::new(max, 3);
    let keys: Vec<String> = (0..10_000).map(|key| format!("key-{key}")).collect();
    for key in &keys {
        collector.event(KeyedEvent {
            hash: hash_key(key.as_bytes()),
            time: EventTime(0),
            count: 1,
            key: key.as_bytes(),
            origin: Origin::default(),
        });
    }
    let full = collector.take_full().count();
    assert!(full >= 3, "{full} full batches were set aside");
    let mut collector = Collector::new(max, 3);
    for key in &keys {
        collector.event(KeyedEvent {
            hash: hash_key(key.as_bytes()),
            time: EventTime(0),
            count: 1,
            key: key.as_bytes(),
            origin: Origin::default(),
        });
    }
    let mut seen = 0;
    for (target, batch) in collector.take_all() {
        seen += batch.len();
        assert!(batch.len() <= BATCH_EVENTS);
        assert!(batch.iter().all(|event| event.hash.key_group(max).subtask(max, 3) == target));
    }
    assert_eq!(seen, keys.len());
    assert_eq!(collector.take_all().count(), 0);
}

fn session_event(collector: &mut Collector, key: u32, time: i64) {
    let key = key.to_le_bytes();
    let event =
        KeyedEvent { hash: hash_key(&key), time: EventTime(time), count: 1, key: &key, origin: Origin::default() };
    collector.session_event(event, 5);
}

fn entries(collector: &mut Collector) -> Vec<usize> {
    collector.take_all().map(|(_, batch)| batch.len()).collect()
}

#[test]
fn events_of_a_hot_key_share_an_entry_with_others_in_between() {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
    for number in 0..100 {
        session_event(&mut collector, 0, number.into());
        session_event(&mut collector, number, 0);
    }
    let entries = entries(&mut collector);
    assert!(entries.len() == 1 && (100..110).contains(&entries[0]), "{entries:?}");
}

#[test]
fn event_never_shares_an_entry_that_is_not_the_last_of_its_key() {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
    [0, 100, 1].iter().for_each(|&time| session_event(&mut collector, 7, time));
    let order = |batch: &EventBatch| batch.iter().map(|event| event.time.0).collect::<Vec<_>>();
    let batches: Vec<_> = collector.take_all().map(|(_, batch)| order(&batch)).collect();
    assert_eq!(batches, [[0, 100, 1]]);
    session_event(&mut collector, 7, 0);
    let key = 7_u32.to_le_bytes();
    let event =
        KeyedEvent { hash: hash_key(&key), time: EventTime(100), count: 1, key: &key, origin: Origin::default() };
    collector.event(event);
    session_event(&mut collector, 7, 1);
    let batches: Vec<_> = collector.take_all().map(|(_, batch)| order(&batch)).collect();
    assert_eq!(batches, [[0, 100, 1]], "nor behind one that came by itself");
}

#[test]
fn batch_is_full_with_as_many_events_however_few_its_entries() {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
    (0..BATCH_EVENTS).for_each(|_| session_event(&mut collector, 1, 0));
    let full: Vec<_> = collector.take_full().map(|(_, batch)| (batch.len(), batch.events())).collect();
    assert_eq!(full, [(1, BATCH_EVENTS as u64)]);
}

#[test]
fn traffic_without_a_hot_key_is_looked_at_now_and_then_only() {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 1);
    let mut followers = |keys: u32| {
        (0..BATCH_EVENTS as u32).for_each(|number| session_event(&mut collector, number % keys, 0));
        collector.take_all().map(|(_, batch)| batch.followers()).sum::<usize>()
    };
    assert_eq!(followers(100_000), 0);
    let looked: Vec<bool> = (0..18).map(|_| followers(1) > 0).collect();
    assert_eq!(looked.iter().position(|&looks| looks), Some(16));
    assert!(looked[16..].iter().all(|&looks| looks), "it pays: {looked:?}");
}

#[test]
fn events_since_a_mark_are_all_there_though_they_share_an_entry() {
    let mut collector = Collector::new(MaxParallelism::DEFAULT, 3);
    (0..30).for_each(|key| session_event(&mut collector, key % 3, 0));
    let mark = collector.mark();
    (0..30).for_each(|key| session_event(&mut collector, key % 3, 1));
    let since: Vec<i64> = collector.events_since(&mark).map(|(_, event)| event.time.0).collect();
    assert_eq!(since, [1; 30]);
}
