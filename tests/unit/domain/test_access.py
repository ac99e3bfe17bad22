import pytest

from switchover.domain.access import Principal, PrincipalKind, Scope, TenantSelector, parse_scopes, scope_of_verb


def principal(*scopes: Scope, tenants: TenantSelector | None = None) -> Principal:
    return Principal(name="x", kind=PrincipalKind.TOKEN, scopes=frozenset(scopes), tenants=tenants or TenantSelector())


@pytest.mark.parametrize(
    ("own", "open_to"),
    [
        (Scope.VIEWER, {Scope.VIEWER}),
        (Scope.OPERATOR, {Scope.VIEWER, Scope.OPERATOR}),
        (Scope.APPROVER, {Scope.VIEWER, Scope.APPROVER}),
        (Scope.ADMIN, set(Scope)),
    ],
)
def test_each_scope_contains_exactly_what_the_documentation_says(own: Scope, open_to: set[Scope]) -> None:
    assert {scope for scope in Scope if principal(own).may(scope)} == open_to


def test_scopes_add_up_and_nobody_may_anything_without_one() -> None:
    assert principal(Scope.OPERATOR, Scope.APPROVER).may(Scope.APPROVER)
    assert not principal(Scope.OPERATOR, Scope.APPROVER).may(Scope.ADMIN)
    assert not any(principal().may(scope) for scope in Scope)


@pytest.mark.parametrize(
    ("patterns", "tenant", "selected"),
    [
        (("*",), "anything", True),
        (("acme",), "acme", True),
        (("acme",), "acme-2", False),
        (("acme",), "ACME", False),
        (("acme-*", "bolt"), "acme-", True),
        (("acme-*", "bolt"), "bolt", True),
        (("acme-*", "bolt"), "xacme-1", False),
        (("t??",), "t12", True),
        (("t??",), "t1", False),
        (("eu:*.x",), "eu:abxx", False),
        (("eu:*.x",), "eu:ab.x", True),
        (("acme",), "acme\n", False),
    ],
)
def test_a_selector_selects_ids_and_patterns(patterns: tuple[str, ...], tenant: str, selected: bool) -> None:
    assert TenantSelector(patterns).selects(tenant) is selected
    assert principal(Scope.VIEWER, tenants=TenantSelector(patterns)).may_touch(tenant) is selected


@pytest.mark.parametrize("patterns", [(), ("",), ("a b",), ("[ab]",), ("x" * 129,), ("a/b",), tuple("a" * 1001)])
def test_a_selector_that_can_select_nothing_is_refused(patterns: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="tenants: "):
        TenantSelector(patterns)


def test_no_pattern_makes_a_comparison_explode() -> None:
    """Each star could be tried at each place; 64 of them would take longer than anybody lives."""
    assert not TenantSelector(("*a" * 64,)).selects("a" * 63 + "b" * 65)


def test_wrong_scopes_are_refused_by_name() -> None:
    assert parse_scopes(["viewer", "approver"]) == {Scope.VIEWER, Scope.APPROVER}
    with pytest.raises(ValueError, match="'root' is none; the scopes are viewer, operator, approver, admin"):
        parse_scopes(["root"])
    with pytest.raises(ValueError, match="give at least one"):
        parse_scopes([])


def test_judging_a_gate_is_the_approvers_and_every_other_verb_the_operators() -> None:
    assert {scope_of_verb(verb) for verb in ("approve", "reject")} == {Scope.APPROVER}
    assert {scope_of_verb(verb) for verb in ("create", "pause", "rollback", "hold", "stop-line")} == {Scope.OPERATOR}
