package ratelimittest

// still are the sentences that need no time to pass.
func still() []check {
	return []check{
		{sentence: "a combination never seen has its whole quota free", run: wholeQuota},
		{sentence: "a take that passes takes every cost", run: takesEvery},
		{sentence: "a refused take changes nothing", run: refusedChangesNothing},
		{sentence: "a refused take says of each limit what a peek says", run: refusedPeeks},
		{sentence: "cells and logs are taken all or none", run: mixed},
		{sentence: "a peek changes nothing and answers as a take would", run: peekOnly},
		{sentence: "a cost of 0 passes and spends nothing", run: costZero},
		{sentence: "a cost above the quota can never pass", run: costAboveQuota},
		{sentence: "keys are any bytes", run: anyKeys},
		{sentence: "limits of different names and algorithms are apart", run: namesApart},
		{sentence: "each take has an ID of its own and spending nothing has none", run: freshIDs},
		{sentence: "what is filled in does not depend on what the request held", run: staleRequest},
		{sentence: "a request has up to the most ops", run: mostOps},
		{sentence: "bounds of count and period do not overflow", run: atBounds},
		{sentence: "a changed count or burst keeps what was used", run: keepsUsed},
		{sentence: "a context that is done is an error and changes nothing", run: doneContext},
		{sentence: "callers at once get exactly the quota", run: exactAtOnce},
		{sentence: "several subjects at once are taken all or none", run: allOrNoneAtOnce},
		{sentence: "subjects in any order never wait for each other for ever", run: anyOrder},
		{sentence: "a take up to a cost takes the greatest that passes", run: takesUpTo},
		{sentence: "a take up to a cost takes the same of every op", run: takesUpToOfSeveral},
		{sentence: "takes up to a cost at once get exactly the quota", run: takesUpToAtOnce},
		{sentence: "a shadow limit denies nothing", run: shadowNeverDenies},
		{sentence: "a shadow limit takes what passes it when the request passes", run: shadowTakesWhatPasses},
		{sentence: "what only shadow limits refused has no ID and is not settled", run: shadowSpendsNothing},
		{sentence: "a charge takes every cost whether it passes or not", run: charges},
		{sentence: "a refund frees what was taken", run: refundFrees},
		{sentence: "a refund acts once for each ID", run: refundOnce},
		{sentence: "refunds at once of one ID act once", run: refundOnceAtOnce},
		{sentence: "a refund never frees more than the quota", run: refundClamped},
		{sentence: "a refund after a reset changes nothing", run: refundAfterReset},
		{sentence: "a settlement brings what was taken to what it came to", run: settles},
		{sentence: "a settlement charges more than passes", run: settlesBeyond},
		{sentence: "a settlement or a refund acts once for each ID", run: settlesOnce},
		{sentence: "settlements and refunds at once of one ID act once", run: settlesOnceAtOnce},
		{sentence: "a release ends the leases of its ID and no other", run: releases},
		{sentence: "a release remembers no ID", run: releaseAndRefund},
		{sentence: "leases at once are never more than the quota", run: leasesAtOnce},
		{sentence: "a reset forgets one combination and no other", run: resetForgets},
	}
}

// moving are the sentences about time.
func moving() []check {
	return []check{
		{sentence: "a retry passes after RetryAfter and not before", run: leastWait},
		{sentence: "the whole quota is free after ResetAfter and not before", run: resetAfter},
		{sentence: "a bucket refills at exactly its rate", run: exactRate},
		{sentence: "a window ends where the Unix epoch's do", run: windowTurns},
		{sentence: "a calendar's window starts when its first date does", run: calendarTurns},
		{sentence: "an entry of a log counts for its Period to the microsecond", run: logTrails},
		{sentence: "a clock that goes back mints nothing", run: clockBack},
		{sentence: "a peek or a refusal at another time leaves nothing", run: peekLeavesNoTime},
		{sentence: "a changed period keeps what was used until it has come back", run: keepsUsedInTime},
		{sentence: "a refund gives back nothing that time gave back", run: refundLate},
		{sentence: "an ID is remembered as long as its refund could act", run: refundRemembered},
		{sentence: "a debt is paid back before anything passes", run: debtIsPaid},
		{sentence: "a refund frees nothing that an overdraft covers", run: overdraftCovers},
		{sentence: "a debt takes at most MaxPeriod to pay back", run: debtEnds},
		{sentence: "a log with nothing in use has seen no time", run: endedLog},
		{sentence: "what work came to is charged also when its take is over", run: settledLate},
		{sentence: "a settlement is remembered until what it charged has come back", run: settlementRemembered},
		{sentence: "a lease that lapsed is over", run: leaseLapses},
		{sentence: "a renewed lease counts for one Period from then", run: renewedLease},
		{sentence: "leases are renewed all or none", run: renewsAllOrNone},
		{sentence: "a changed Period of leases concerns those taken or renewed later", run: leasePeriod},
	}
}

// walks compare the store with the model.
func walks() []check {
	return []check{
		{sentence: "every decision is the one that rational numbers give", run: agrees(unchanged, 800)},
		{sentence: "and so it is when counts and bursts change", run: agrees(recounted, 800)},
		{sentence: "and when periods, spans and zones change", run: agrees(changing, 800)},
		{sentence: "and at the ends of all ranges", run: agrees(extreme, 800)},
	}
}
