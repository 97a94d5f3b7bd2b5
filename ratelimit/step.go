package ratelimit

// A Kept is the state of one op: the Log of a rule that is Logged, else the
// Cell.
type Kept struct {
	Cell Cell
	Log  Log
}

// Run carries out the request at the time now on the state of its ops: kept has
// one for each, which it changes, and the result has bit i set when that of op
// i changed. Fresh is the ID for what a take spends. For ModeSettle the caller
// sees to it that an ID is settled once.
func (req *Request) Run(kept []Kept, now int64, fresh ID) (changed uint64) {
	req.Now = now
	switch req.Mode {
	case ModeTake, ModeTakeUpTo, ModePeek:
		return req.decide(kept, now, fresh)
	case ModeCharge:
		req.ID = ID{}
		for i := range req.Ops {
			if req.Ops[i].Cost > 0 {
				req.Ops[i].charge(&kept[i], fresh, now)
				changed |= 1 << i
				req.ID = fresh
			}
		}
	case ModeSettle, ModeRelease:
		for i := range req.Ops {
			if req.Ops[i].settle(&kept[i], req.ID, now) {
				changed |= 1 << i
			}
		}
	case ModeRenew:
		req.Allowed = true
		for i := range req.Ops {
			req.Allowed = req.Allowed && kept[i].Log.find(req.ID, now) >= 0
		}
		for i := range req.Ops {
			if req.Allowed && req.Ops[i].Rule.RenewLog(&kept[i].Log, req.ID, now) {
				changed |= 1 << i
			}
		}
	case ModeReset:
		for i := range req.Ops {
			kept[i] = Kept{}
			changed |= 1 << i
		}
	}
	return changed
}

// decide is Run for the modes that decide.
func (req *Request) decide(kept []Kept, now int64, fresh ID) (changed uint64) {
	if req.Mode == ModeTakeUpTo {
		req.cut(kept, now)
	}
	req.Allowed, req.ID = true, ID{}
	for i := range req.Ops {
		op := &req.Ops[i]
		op.Outcome = op.take(&kept[i], now)
		req.Allowed = req.Allowed && (op.Outcome.RetryAfter == 0 || op.Rule.limit.Shadow)
	}
	for i := range req.Ops {
		op := &req.Ops[i]
		switch {
		case op.Outcome.RetryAfter != 0 || op.Cost == 0:
		case !req.Allowed || req.Mode == ModePeek:
			op.Outcome = op.peek(&kept[i], now)
		default:
			op.charge(&kept[i], fresh, now)
			changed |= 1 << i
			req.ID = fresh
		}
	}
	return changed
}

// cut lowers the costs to the greatest that passes, or to 1.
func (req *Request) cut(kept []Kept, now int64) {
	most := req.Ops[0].Cost
	for i := range req.Ops {
		if op := &req.Ops[i]; !op.Rule.limit.Shadow {
			probe := *op
			probe.Cost = 0
			most = min(most, max(probe.take(&kept[i], now).Remaining, 1))
		}
	}
	for i := range req.Ops {
		req.Ops[i].Cost = most
	}
}

// take tells what taking the cost would say.
func (op *Op) take(k *Kept, now int64) (o Outcome) {
	if op.Rule.Logged() {
		return op.Rule.TakeLog(&k.Log, op.Cost, now)
	}
	_, o = op.Rule.Take(k.Cell, op.Cost, now)
	return o
}

func (op *Op) peek(k *Kept, now int64) Outcome {
	if op.Rule.Logged() {
		return op.Rule.PeekLog(&k.Log, op.Cost, now)
	}
	return op.Rule.Peek(k.Cell, op.Cost, now)
}

func (op *Op) charge(k *Kept, id ID, now int64) {
	if op.Rule.Logged() {
		op.Rule.ChargeLog(&k.Log, id, op.Cost, now)
		return
	}
	k.Cell = op.Rule.Charge(k.Cell, op.Cost, now)
}

func (op *Op) settle(k *Kept, id ID, now int64) bool {
	if op.Rule.Logged() {
		return op.Rule.SettleLog(&k.Log, id, op.Cost, op.Actual, now)
	}
	was := k.Cell
	k.Cell = op.Rule.Settle(was, op.Cost, op.Actual, op.Until, op.Rest, now)
	return k.Cell != was
}
