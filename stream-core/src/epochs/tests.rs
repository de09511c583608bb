use super::*;
use crate::time::Timestamp;

fn rows(table: u16, text: &str) -> RowBatch {
    let mut rows = RowBatch::of(TableIndex(table));
    rows.row(1).text(Some(text));
    rows
}

#[test]
fn many_rows_that_stay_in_memory_are_kept_where_they_are_and_in_their_order() {
    let (few, many) = (rows(0, "few"), rows(0, &"many".repeat(KEPT_BYTES / 4)));
    for is_stored in [false, true] {
        let mut epochs = Epochs::new(is_stored, u64::MAX, Vec::new());
        let (mut came, mut place) = (RowBatch::default(), None);
        for batch in [&few, &few, &many, &few, &many, &rows(1, "other")] {
            if batch.table() == TableIndex::RESULT {
                came.append(batch);
            }
            let batch = batch.clone();
            if batch.as_bytes().len() >= KEPT_BYTES {
                place = Some(batch.as_bytes().as_ptr());
            }
            epochs.gather(batch);
        }
        let came_bytes = came.as_bytes().len() + rows(1, "other").as_bytes().len();
        assert_eq!(epochs.unpublished_bytes(), came_bytes as u64);
        let (checkpoint, prev) = (CheckpointId(1), CheckpointId::ROOT);
        epochs.seal(Barrier { checkpoint, prev, triggered: Timestamp(0), is_full: false, is_last: false });
        for (ticket, rows) in epochs.take_unstored() {
            let file = FileRef { name: ticket.to_string(), bytes: rows.as_bytes().len() as u64, checksum: 0 };
            assert_eq!(epochs.on_stored(ticket, Ok(file)), None);
        }
        assert_eq!(epochs.take_acknowledged().len(), 1);
        epochs.complete(checkpoint, prev, Accounts::default(), None);
        let pieces = &epochs.next_ready().expect("it is complete").pieces;
        let pieces: Vec<&Arc<RowBatch>> = pieces.iter().filter_map(|piece| piece.rows.as_ref()).collect();
        let mut found = RowBatch::default();
        pieces.iter().filter(|piece| piece.table() == TableIndex::RESULT).for_each(|piece| found.append(piece));
        assert_eq!(found, came);
        assert_eq!(pieces.last().map(|piece| piece.table()), Some(TableIndex(1)));
        let is_kept = pieces.iter().any(|piece| Some(piece.as_bytes().as_ptr()) == place);
        assert_eq!((is_kept, pieces.len()), if is_stored { (false, 2) } else { (true, 5) });
        assert_eq!(epochs.on_published(), came.rows());
        assert!(epochs.are_published() && epochs.unpublished_bytes() == 0);
    }
}
