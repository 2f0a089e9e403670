from p2phouse_relay.thrift import REPORTS, Thrift


def after(thrift: Thrift, *loads: int) -> bool:
    for load in loads:
        thrift.hear(load)
    return thrift.together


def test_a_relay_is_thrifty_while_it_is_loaded_and_some_way_down():
    thrift = Thrift()
    assert not after(thrift, *[599] * 10)
    assert after(thrift, *[600] * REPORTS)
    assert after(thrift, *[330] * 10)  # what 600 comes to when it is
    assert not after(thrift, *[299] * REPORTS)


def test_people_who_join_all_at_once_change_nothing():
    thrift = Thrift()
    assert not after(thrift, 300, *[950] * (REPORTS - 1), 300, *[950] * (REPORTS - 1), 300)


def test_it_may_be_always_so():
    assert after(Thrift(0))
    assert after(Thrift(0), 0, 0, 0, 0)
