// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title What clients sign (EIP-712), so that others can hand it in: wallets show it field by field.
library TypedData {
    /// @notice Bytes of a signature: r, s, v (27 or 28), s in the lower half (EIP-2).
    uint256 internal constant SIGNATURE = 65;

    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant JOIN = keccak256("Join(uint256 job,uint32 samples,bytes32 key,uint256 deadline)");
    bytes32 private constant UPDATE =
        keccak256("Update(uint256 job,uint32 attempt,bytes32 model,bytes32 commitment,bytes32 content,uint32 weight)");

    /// @notice The separator of this ledger on this chain, which may have split since the ledger was deployed.
    function domain() internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, keccak256("Galaxy"), keccak256("2"), block.chainid, address(this)));
    }

    /// @notice The hash of the struct `Update`.
    /// @dev In memory that is free and stays it: this is the inner loop of a batch.
    function update(
        uint256 job,
        uint32 attempt,
        bytes32 model,
        bytes32 commitment,
        bytes32 content,
        uint32 weight
    ) internal pure returns (bytes32 hash) {
        bytes32 type_ = UPDATE;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, type_)
            mstore(add(free, 0x20), job)
            mstore(add(free, 0x40), and(attempt, 0xffffffff))
            mstore(add(free, 0x60), model)
            mstore(add(free, 0x80), commitment)
            mstore(add(free, 0xa0), content)
            mstore(add(free, 0xc0), and(weight, 0xffffffff))
            hash := keccak256(free, 0xe0)
        }
    }

    /// @notice The hash of the struct `Join`.
    function join(uint256 job, uint32 samples, bytes32 key, uint256 deadline) internal pure returns (bytes32) {
        return keccak256(abi.encode(JOIN, job, samples, key, deadline));
    }

    /// @notice Whether a signature over a struct's hash is that account's.
    /// @dev Contracts can't sign (EIP-1271): a call into foreign code would have to be bounded in gas and judged anew
    /// at every attempt to include it. They send their own transactions.
    function isSigned(
        bytes32 domain_,
        bytes32 hash,
        bytes calldata signature,
        address account
    ) internal pure returns (bool) {
        if (signature.length != SIGNATURE) return false;
        (address signer, ECDSA.RecoverError fault,) = ECDSA.tryRecover(
            keccak256(abi.encodePacked(hex"1901", domain_, hash)),
            uint8(signature[64]),
            bytes32(signature[:32]),
            bytes32(signature[32:64])
        );
        return fault == ECDSA.RecoverError.NoError && signer == account;
    }
}
